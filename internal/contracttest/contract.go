// Package contracttest compares live traffic with openapi.yaml: what the client sends and what the embedded server
// answers. It is a module of its own, so that the SDK does not depend on the validator.
package contracttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Contract checks calls and answers against openapi.yaml, more strictly than OpenAPI demands. It accepts no
// undocumented field, status, content type or query parameter, not even where the contract leaves room for later
// additions of the service. It is safe for concurrent use.
type Contract struct {
	document *openapi3.T
	router   routers.Router
}

// Parse reads a contract, and checks that it is valid and that its examples obey it.
func Parse(data []byte) (*Contract, error) {
	document, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, err
	}
	if err := document.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return nil, err
	}
	document.Servers = openapi3.Servers{{URL: "/api/v1"}} // on any host
	schemas := document.Components.Schemas
	for _, schema := range schemas {
		closeObject(schema.Value)
	}
	schemas["Status"].Value.Enum = []any{
		"pending", "auto_approved", "approved", "rejected", "expired", "completed", "failed",
	}
	schemas["Check"].Value.Properties["result"].Value.Enum = []any{"pass", "fail"}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		return nil, err
	}
	return &Contract{document, router}, nil
}

// closeObject forbids fields that a schema does not list, unless the schema itself allows others.
func closeObject(schema *openapi3.Schema) {
	if schema.Type.Is(openapi3.TypeObject) && schema.AdditionalProperties.Has == nil &&
		schema.AdditionalProperties.Schema == nil {
		schema.AdditionalProperties.Has = new(false)
	}
}

// Operations returns the ids of all operations.
func (c *Contract) Operations() []string {
	var ids []string
	for _, path := range c.document.Paths.InMatchingOrder() {
		for _, operation := range c.document.Paths.Value(path).Operations() {
			ids = append(ids, operation.OperationID)
		}
	}
	return ids
}

// Exchange is one call and its answer.
type Exchange struct {
	Request      *http.Request // its body is not looked at
	RequestBody  []byte
	Status       int
	Header       http.Header
	ResponseBody []byte

	contract *Contract
	route    *routers.Route // nil when the contract has no such call
	params   map[string]string
	routeErr error
}

// Exchange prepares a call and its answer for being checked.
func (c *Contract) Exchange(request *http.Request, requestBody []byte, status int, header http.Header,
	responseBody []byte,
) *Exchange {
	e := &Exchange{
		Request:      request,
		RequestBody:  requestBody,
		Status:       status,
		Header:       header,
		ResponseBody: responseBody,
		contract:     c,
	}
	e.route, e.params, e.routeErr = c.router.FindRoute(request)
	return e
}

// Operation is the id of the operation called, or "" when the contract has none.
func (e *Exchange) Operation() string {
	if e.route == nil {
		return ""
	}
	return e.route.Operation.OperationID
}

// String shows the exchange without its token.
func (e *Exchange) String() string {
	return fmt.Sprintf("%s %s\n  > %.2000s\n  < %d %.2000s", e.Request.Method, e.Request.URL.RequestURI(),
		e.RequestBody, e.Status, e.ResponseBody)
}

func (e *Exchange) input() *openapi3filter.RequestValidationInput {
	request := e.Request.Clone(context.Background())
	request.Body = http.NoBody
	if len(e.RequestBody) > 0 {
		request.Body = io.NopCloser(bytes.NewReader(e.RequestBody))
	}
	return &openapi3filter.RequestValidationInput{
		Request:    request,
		PathParams: e.params,
		Route:      e.route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus:             true,
			RejectWhenRequestBodyNotSpecified: true,
			SkipSettingDefaults:               true,
			MultiError:                        true,
			AuthenticationFunc:                checkToken,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{
				openapi3.EnableFormatValidation(), openapi3.DisableSchemaErrorDetails(),
			},
		},
	}
}

func checkToken(_ context.Context, input *openapi3filter.AuthenticationInput) error {
	header := input.RequestValidationInput.Request.Header
	if token, ok := strings.CutPrefix(header.Get("Authorization"), "Bearer "); !ok || token == "" {
		return errors.New("no bearer token")
	}
	return nil
}

// CheckRequest returns what is wrong with the call.
func (e *Exchange) CheckRequest() error {
	if e.route == nil {
		return e.routeErr
	}
	for name := range e.Request.URL.Query() {
		if e.route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return fmt.Errorf("the query parameter %q is not documented", name)
		}
	}
	return openapi3filter.ValidateRequest(context.Background(), e.input())
}

// CheckResponse returns what is wrong with the answer. A call that is not in the contract must be answered with an
// error.
func (e *Exchange) CheckResponse() error {
	if e.route == nil {
		return e.checkRefusal()
	}
	response := e.route.Operation.Responses.Status(e.Status)
	if response == nil {
		// Redirects too, which the validator ignores.
		return fmt.Errorf("the status %d is not documented", e.Status)
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: e.input(),
		Status:                 e.Status,
		Header:                 e.Header,
		Options:                e.input().Options,
		Body:                   io.NopCloser(bytes.NewReader(e.ResponseBody)),
	})
}

// checkRefusal checks the answer to a call of a path or method that there is not.
func (e *Exchange) checkRefusal() error {
	want := http.StatusNotFound
	switch {
	case errors.Is(e.routeErr, routers.ErrMethodNotAllowed):
		want = http.StatusMethodNotAllowed
	case strings.HasSuffix(e.Request.URL.Path, "/") && e.Header.Get("Location") != "":
		want = http.StatusTemporaryRedirect // to the path without its last slash
	}
	if e.Status != want {
		return fmt.Errorf("the status is %d, want %d: %w", e.Status, want, e.routeErr)
	}
	if want == http.StatusTemporaryRedirect {
		return nil
	}
	value, err := decodeJSON(e.ResponseBody)
	if err != nil {
		return err
	}
	return e.contract.document.Components.Schemas["Error"].Value.VisitJSON(value)
}
