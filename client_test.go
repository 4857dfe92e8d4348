package letagentpay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

func TestNewRefusesBadValues(t *testing.T) {
	type options = []letagentpay.Option
	token, base := letagentpay.WithToken(testToken), letagentpay.WithBaseURL
	for name, c := range map[string]struct {
		opts  options
		env   map[string]string
		field string
	}{
		"no token": {nil, nil, "WithToken"},
		"empty token": {
			options{letagentpay.WithToken("")}, map[string]string{"LETAGENTPAY_TOKEN": testToken}, "WithToken",
		},
		"no prefix":        {options{letagentpay.WithToken("secret-of-this-test")}, nil, "WithToken"},
		"prefix only":      {options{letagentpay.WithToken("agt_")}, nil, "WithToken"},
		"final newline":    {options{letagentpay.WithToken(testToken + "\n")}, nil, "WithToken"},
		"space inside":     {options{letagentpay.WithToken("agt_secret-of this-test")}, nil, "WithToken"},
		"header injection": {options{letagentpay.WithToken("agt_secret-of-this-test\r\nX: y")}, nil, "WithToken"},
		"not ASCII":        {options{letagentpay.WithToken("agt_secret-of-this-tést")}, nil, "WithToken"},
		"very long": {
			options{letagentpay.WithToken("agt_" + strings.Repeat("secret-of-this-test", 100))}, nil, "WithToken",
		},
		"bad token in the env": {
			nil, map[string]string{"LETAGENTPAY_TOKEN": "secret-of-this-test"}, "LETAGENTPAY_TOKEN",
		},
		"base without scheme":    {options{token, base("letagentpay.com/api")}, nil, "WithBaseURL"},
		"base without slashes":   {options{token, base("https:letagentpay.com")}, nil, "WithBaseURL"},
		"base without host":      {options{token, base("https:///api")}, nil, "WithBaseURL"},
		"base empty":             {options{token, base("")}, nil, "WithBaseURL"},
		"base other scheme":      {options{token, base("ftp://letagentpay.com")}, nil, "WithBaseURL"},
		"base is no URL":         {options{token, base("https://bad host/%zz")}, nil, "WithBaseURL"},
		"base with a user":       {options{token, base("https://user:secret-of-this-test@h/api")}, nil, "WithBaseURL"},
		"base with a query":      {options{token, base("https://h/api?token=secret-of-this-test")}, nil, "WithBaseURL"},
		"base with a fragment":   {options{token, base("https://h/api#secret-of-this-test")}, nil, "WithBaseURL"},
		"plain http":             {options{token, base("http://pay.example/api")}, nil, "WithBaseURL"},
		"plain http, look-alike": {options{token, base("http://localhost.example/api")}, nil, "WithBaseURL"},
		"subdomain of localhost": {options{token, base("http://api.localhost/api")}, nil, "WithBaseURL"},
		"port out of range":      {options{token, base("https://pay.example:99999")}, nil, "WithBaseURL"},
		"port zero":              {options{token, base("https://pay.example:0")}, nil, "WithBaseURL"},
		"host of one dot":        {options{token, base("https://.")}, nil, "WithBaseURL"},
		"token as base":          {options{token, base(testToken)}, nil, "WithBaseURL"},
		"plain http, 0.0.0.0":    {options{token, base("http://0.0.0.0/api")}, nil, "WithBaseURL"},
		"bad base in the env": {
			options{token}, map[string]string{"LETAGENTPAY_BASE_URL": "pay"}, "LETAGENTPAY_BASE_URL",
		},
		"nil HTTP client":       {options{token, letagentpay.WithHTTPClient(nil)}, nil, "WithHTTPClient"},
		"nil logger":            {options{token, letagentpay.WithLogger(nil)}, nil, "WithLogger"},
		"negative retries":      {options{token, letagentpay.WithMaxRetries(-1)}, nil, "WithMaxRetries"},
		"too many retries":      {options{token, letagentpay.WithMaxRetries(101)}, nil, "WithMaxRetries"},
		"empty app info":        {options{token, letagentpay.WithAppInfo("")}, nil, "WithAppInfo"},
		"app info on two lines": {options{token, letagentpay.WithAppInfo("a\r\nX: y")}, nil, "WithAppInfo"},
		"nil option":            {options{token, nil}, nil, "Option"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("LETAGENTPAY_TOKEN", c.env["LETAGENTPAY_TOKEN"])
			t.Setenv("LETAGENTPAY_BASE_URL", c.env["LETAGENTPAY_BASE_URL"])
			client, err := letagentpay.New(c.opts...)
			assert.Nil(t, client)
			var param *letagentpay.ParamError
			require.ErrorAs(t, err, &param)
			require.ErrorIs(t, err, letagentpay.ErrInvalid)
			assert.Equal(t, c.field, param.Field)
			assert.NotEmpty(t, param.Reason)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, param, param), "secret-of",
				"a secret must not be printed")
		})
	}
}

func TestNewAcceptsLoopbackAndSelfHosted(t *testing.T) {
	for _, base := range []string{
		"http://localhost:8000/api/v1/agent-api", "http://127.0.0.1:1/x", "http://127.8.9.1", "http://[::1]:80/",
		"http://LOCALHOST./",
		"https://pay.internal/agent-api/",
	} {
		client, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithBaseURL(base))
		require.NoError(t, err, base)
		assert.Equal(t, strings.TrimRight(base, "/"), client.BaseURL())
	}
	_, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithBaseURL("http://pay.internal"),
		letagentpay.WithInsecureHTTP())
	require.NoError(t, err)
}

func TestNewReadsTheEnvironment(t *testing.T) {
	t.Setenv("LETAGENTPAY_TOKEN", testToken)
	t.Setenv("LETAGENTPAY_BASE_URL", "")
	client, err := letagentpay.New()
	require.NoError(t, err)
	assert.Equal(t, letagentpay.DefaultBaseURL, client.BaseURL())

	t.Setenv("LETAGENTPAY_BASE_URL", "https://other.example/api")
	client, err = letagentpay.New()
	require.NoError(t, err)
	assert.Equal(t, "https://other.example/api", client.BaseURL())

	client, err = letagentpay.New(letagentpay.WithBaseURL(testBase))
	require.NoError(t, err)
	assert.Equal(t, testBase, client.BaseURL(), "an option overrides the environment")
}

func TestTokenCannotBePrinted(t *testing.T) {
	s := newService(t).on("GET", "/budget", answer(401, `{"detail":"Invalid agent token `+testToken+`"}`))
	var logged bytes.Buffer
	handler := slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})
	client := s.client(letagentpay.WithLogger(slog.New(handler)))
	_, err := client.Budget(t.Context())
	require.ErrorIs(t, err, letagentpay.ErrUnauthorized)
	assert.Equal(t, "Bearer "+testToken, s.recorded()[0].Header.Get("Authorization"))

	holder := struct{ client letagentpay.Client }{*client}
	var printed strings.Builder
	for _, value := range []any{client, *client, holder, &holder, err} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&printed, verb, value)
		}
		encoded, _ := json.Marshal(value)
		printed.Write(encoded)
		for _, handler := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
			slog.New(handler).Info("x", "value", value)
		}
	}
	printed.Write(logged.Bytes())
	assert.Contains(t, printed.String(), "[token]")
	assert.NotContains(t, printed.String(), "secret-of")
	assert.NotContains(t, printed.String(), fmt.Sprintf("%x", "secret-of"))
	assert.NotEmpty(t, logged.String())
}

func TestUserAgentNamesSDKAndApp(t *testing.T) {
	s := newService(t).on("GET", "/categories", answer(200, `{"categories":["other"]}`))
	_, err := s.client(letagentpay.WithAppInfo("my-agent/1.2")).Categories(t.Context())
	require.NoError(t, err)
	header := s.recorded()[0].Header
	assert.Regexp(t, `^letagentpay-go/\d+\.\d+\.\d+ \(go\S+; \w+\) my-agent/1\.2$`, header.Get("User-Agent"))
	assert.Equal(t, "application/json", header.Get("Accept"))
}

func TestUsersHTTPClientIsLeftAsItIs(t *testing.T) {
	s := newService(t).on("GET", "/categories", answer(200, `{"categories":["other"]}`))
	own := &http.Client{Transport: s.mock}
	client, err := letagentpay.New(letagentpay.WithToken(testToken), letagentpay.WithBaseURL(s.base),
		letagentpay.WithHTTPClient(own))
	require.NoError(t, err)
	_, err = client.Categories(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.RoundTripper(s.mock), own.Transport)
	assert.Nil(t, own.CheckRedirect)
	assert.Zero(t, own.Timeout)
}

func TestAmounts(t *testing.T) {
	a, err := letagentpay.ParseAmount("49.9")
	require.NoError(t, err)
	assert.Equal(t, letagentpay.MustAmount("49.90"), a)
	_, err = letagentpay.ParseAmount("-1")
	var param *letagentpay.ParamError
	require.ErrorAs(t, err, &param)
	assert.Equal(t, "-1", param.Value)
	assert.True(t, errors.Is(err, letagentpay.ErrInvalid))
	assert.Contains(t, err.Error(), "49.99", "the error shows what is accepted")
}
