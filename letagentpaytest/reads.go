package letagentpaytest

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/internal/api"
)

const (
	defaultPage = 20
	largestPage = 100
)

type listQuery struct {
	status        string
	limit, offset int
}

func parseList(query url.Values) (listQuery, *answer) {
	var problems []problem
	q := listQuery{
		limit:  min(queryInt(query, "limit", defaultPage, &problems), largestPage),
		offset: queryInt(query, "offset", 0, &problems),
	}
	if statuses := query["status"]; len(statuses) > 0 {
		q.status = statuses[len(statuses)-1]
	}
	if len(problems) > 0 {
		return q, invalid(problems...)
	}
	return q, nil
}

// queryInt returns a whole number of the query, at least 0, or otherwise if it is missing. Of several values the last
// one counts.
func queryInt(query url.Values, name string, otherwise int, problems *[]problem) int {
	values := query[name]
	if len(values) == 0 {
		return otherwise
	}
	text := values[len(values)-1]
	report := func(kind, msg string, context map[string]any) int {
		*problems = append(*problems, newProblem([]any{"query", name}, kind, msg, text, context))
		return otherwise
	}
	digits := strings.ReplaceAll(trimSpace(text), "_", "")
	if whole, zeros, ok := strings.Cut(digits, "."); ok && strings.Trim(zeros, "0") == "" {
		digits = whole
	}
	value, err := strconv.Atoi(digits)
	switch {
	case errors.Is(err, strconv.ErrRange) && digits[0] != '-':
		return math.MaxInt // beyond any list
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return report("int_parsing", "Input should be a valid integer, unable to parse string as an integer", nil)
	case value < 0: // where the service fails with a 500
		return report("greater_than_equal", "Input should be greater than or equal to 0", map[string]any{"ge": 0})
	}
	return value
}

// listRequests returns one page of the agent's requests, the newest first. It shows overdue requests as pending: only a
// read of the request itself, the sweep and an approval expire them.
func (s *Server) listRequests(x *exchange, q listQuery) *answer {
	page := make([]api.RequestListItem, 0, min(q.limit, len(x.agent.order)))
	skip := q.offset
	for i := len(x.agent.order) - 1; i >= 0 && len(page) < q.limit; i-- {
		r := x.agent.order[i]
		if q.status != "" && string(r.status) != q.status {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		page = append(page, r.listItem())
	}
	return jsonAnswer(http.StatusOK, api.RequestList{
		Requests: page,
		Total:    len(page),
		Limit:    q.limit,
		Offset:   q.offset,
	})
}

// readRequest returns one request. An overdue request expires now.
func (s *Server) readRequest(x *exchange) *answer {
	r := x.agent.requests[x.id]
	if r == nil {
		return errorAnswer(http.StatusNotFound, "Request not found")
	}
	if r.overdue(x.now) {
		x.agent.leavePending(r, letagentpay.StatusExpired, x.now)
	}
	return jsonAnswer(http.StatusOK, r.detail())
}

func (s *Server) readBudget(x *exchange) *answer {
	return jsonAnswer(http.StatusOK, x.agent.budgetResult())
}

func (s *Server) readPolicy(x *exchange) *answer {
	return jsonAnswer(http.StatusOK, api.PolicyDocument{Policy: x.agent.rawPolicy()})
}

func (s *Server) readCategories(x *exchange) *answer {
	return jsonAnswer(http.StatusOK, api.CategoryList{Categories: x.agent.account.categoryNames})
}
