package letagentpay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
)

// forged is a text that, unescaped, adds a line to a log, clears a terminal and reverses the reading order.
const forged = "no\ntime=2026-01-01 level=INFO msg=\"letagentpay.purchase\" status=auto_approved\r" +
	"\u2028\x1b[2J\u202e\u2066\x00\xff"

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

func assertOneLine(t *testing.T, text string, longest int) {
	t.Helper()
	for _, r := range text {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			t.Errorf("%q holds %q", text, r)
			return
		}
	}
	assert.True(t, utf8.ValidString(text))
	assert.LessOrEqual(t, utf8.RuneCountInString(text), longest)
}

func TestTextsOfTheServiceAreOneShortLineInErrorsAndLogs(t *testing.T) {
	long := forged + strings.Repeat("x", 900_000)
	message := quote(forged + strings.Repeat("y", 1000))
	field := `{"type":` + quote(forged) + `,"loc":["body",` + quote(forged) + `],"msg":` + message + `}`
	oneLine := strings.NewReplacer("\n", "", "\r", "").Replace(long)
	for name, responder := range map[string]httpmock.Responder{
		"detail":         answer(403, `{"detail":`+quote(long)+`}`),
		"fields":         answer(422, `{"detail":[`+strings.Repeat(field+",", 99)+field+`]}`),
		"no JSON":        answer(502, long, "Content-Type", "text/html"),
		"another answer": answer(200, `{"budget":`+quote(long)+`}`),
		"content type":   answer(200, `{}`, "Content-Type", "text/"+oneLine),
		"redirect":       answer(302, ``, "Location", "https://"+strings.Repeat("h.", 100_000)+"\u202e.example/"),
		"a repeated member": answer(200, `{"budget":"1","spent":"1","remaining":"1","currency":"USD",`+
			quote(long)+`:1,`+quote(long)+`:2}`),
		"a wrong time": answer(200, `{"policy":`+quote(long)+`}`),
		"network":      broken(errors.New(long)),
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			logger := slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			s := newService(t).on("GET", "/budget", responder)
			_, err := s.client(letagentpay.WithLogger(logger), letagentpay.WithMaxRetries(0)).Budget(t.Context())
			require.Error(t, err)
			assertOneLine(t, err.Error(), 9000)
			var failure *letagentpay.APIError
			require.ErrorAs(t, err, &failure)
			assertOneLine(t, failure.Detail, 501)
			assert.LessOrEqual(t, len(failure.Fields), 20)
			for _, field := range failure.Fields {
				assertOneLine(t, field.Field+field.Type+field.Message, 450)
			}
			var record struct{ Error string }
			require.NoError(t, json.Unmarshal(logged.Bytes(), &record))
			assertOneLine(t, record.Error, 9000)
			assert.Less(t, logged.Len(), 30_000)
		})
	}
}

func TestOrdinaryTextsOfTheServiceStayAsTheyAre(t *testing.T) {
	text := "Überschritten: 5 € statt 4 €  (日本) ✓"
	_, err := newService(t).on("GET", "/budget", answer(403, `{"detail":`+quote(text)+`}`)).client().Budget(t.Context())
	var failure *letagentpay.APIError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, text, failure.Detail)
	rejected := strings.Replace(rejectedAnswer, "500.00 left", text, 1)
	p, err := newService(t).on("POST", "/requests", answer(201, rejected)).client().Purchase(t.Context(), groceries())
	require.NoError(t, err)
	assert.Equal(t, text, p.PolicyCheck.Failed()[0].Detail)
}

func TestReasonsOfARejectionAreBounded(t *testing.T) {
	detail := quote(forged + strings.Repeat("x", 1000))
	check := `{"rule":` + quote("account_budget:"+forged) + `,"result":"fail","detail":` + detail + `},`
	body := strings.Replace(rejectedAnswer, `"checks":[`, `"checks":[`+strings.Repeat(check, 50), 1)
	var logged bytes.Buffer
	var runs atomic.Int64
	logger := slog.New(slog.NewJSONHandler(&logged, nil))
	s := newService(t).on("POST", "/requests", answer(201, body))
	_, err := guardGroceries(s.client(letagentpay.WithLogger(logger)), &runs, succeed)(t.Context(), groceries())
	var rejected *letagentpay.NotApprovedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, letagentpay.StatusRejected, rejected.Status)
	assertOneLine(t, err.Error(), 9000)
	assert.Contains(t, err.Error(), "; and 31 more")
	assert.Equal(t, "account_budget:"+strings.ToValidUTF8(forged, "\uFFFD"), rejected.Checks[0].Rule,
		"a name is data and stays as it is")
	assertOneLine(t, rejected.Checks[0].Detail, 501)
	assert.Less(t, logged.Len(), 40_000)
}

func TestStatesAndNamesOfTheServiceAreCleanInErrors(t *testing.T) {
	strange := letagentpay.Status(forged + strings.Repeat("x", 5000))
	id := forged + strings.Repeat("i", 5000)
	for _, err := range []error{
		&letagentpay.WaitTimeoutError{RequestID: id, Last: &letagentpay.Request{Status: strange}},
		&letagentpay.AlreadyHandledError{Request: &letagentpay.Request{RequestID: id, Status: strange}},
		&letagentpay.MismatchError{
			RequestID: id,
			Field:     "Category",
			Requested: string(strange),
			Described: string(strange),
		},
		&letagentpay.NotApprovedError{Status: letagentpay.StatusRejected, RequestID: id},
		&letagentpay.NotApprovedError{Status: letagentpay.StatusPending, RequestID: id},
		&letagentpay.NotApprovedError{Status: letagentpay.StatusExpired, RequestID: id},
		&letagentpay.UnconfirmedError{RequestID: id},
		&letagentpay.UnconfirmedError{RequestID: id, MayHaveSpent: true},
		&letagentpay.OutcomeUnknownError{RequestID: id},
		&letagentpay.OverspendError{RequestID: id},
		&letagentpay.JournalError{RequestID: id},
		&letagentpay.DuplicateError{RequestID: id, Duplicates: []string{id, id}},
		&letagentpay.OutcomeUnknownError{Found: []string{id, id}},
	} {
		assertOneLine(t, err.Error(), 1000)
	}
	inBubble(t, func(t *testing.T) {
		body := `{"request_id":` + quote(id) + `,"status":` + quote(string(strange)) + `}`
		s := newService(t).on("POST", "/requests/r1/confirm", answer(200, body)).
			on("GET", "/requests/r1", answer(403, `{"detail":"Agent is paused"}`))
		_, err := s.client().Confirm(t.Context(), "r1", completed())
		require.ErrorIs(t, err, letagentpay.ErrMalformedResponse)
		assertOneLine(t, err.Error(), 2500)
	})
}

func TestReasonOfAnX402DeclineIsClean(t *testing.T) {
	body := `{"authorized":false,"reason":` + quote(forged+testToken) + `}`
	x402 := newClient(t, fixed{200, "application/json", "", body}).X402
	authorization, err := x402.Authorize(t.Context(), weather("5"))
	require.NoError(t, err)
	assertOneLine(t, authorization.Reason, 201)
	assert.NotContains(t, authorization.Reason, "secret-of")
}

func TestEscapedAndRespelledTokensAreNotEchoed(t *testing.T) {
	for token, body := range map[string]string{
		`agt_ab/cd+ef`:     `{"error":"bad header Bearer agt_ab\/cd+ef"}`,
		`agt_secret-of-us`: `{"error":"bad header Bearer agt_secret\u002dof-us"}`,
		`agt_secret_of-us`: `{"error":"bad header Bearer agt\u005fsecret\u005fof-us"}`,
		`agt_a"quoted"one`: `{"error":"bad header Bearer agt_a\"quoted\"one"}`,
		`agt_a"(one`:       `{"error":"bad header Bearer AGT_A\"(ONE"}`,
		`agt_a&b<c`:        `{"error":"bad header Bearer agt_a\u0026b\u003cc"}`,
		`agt_secret-of-me`: `{"error":"bad header Bearer AGT_SECRET-OF-ME"}`,
		`agt_secret-of-it`: `{"error":"bad query token=agt%5Fsecret%2Dof-it"}`,
		testToken:          `request header too large: Authorization: Bearer agt_secret-of-this-te...`,
		`agt_mine-alone`:   `{"detail":"the token agt_of-another-agent is not known"}`,
	} {
		s := newService(t).on("GET", "/budget", answer(403, body))
		_, err := s.client(letagentpay.WithToken(token)).Budget(t.Context())
		require.ErrorIs(t, err, letagentpay.ErrForbidden)
		assert.Contains(t, err.Error(), "[token]", token)
		for _, part := range []string{"secret", "of-", "quoted", "one", "u0026b", "cd+ef"} {
			assert.NotContains(t, strings.ToLower(strings.Replace(err.Error(), "the token", "", 1)), part, token)
		}
	}
}

func TestTokenInAFieldsMessageIsNotEchoed(t *testing.T) {
	body := `{"detail":[{"type":"x","loc":["body","a"],"msg":"got ` + testToken + `"}]}`
	_, err := newService(t).on("GET", "/budget", answer(422, body)).client().Budget(t.Context())
	var failure *letagentpay.APIError
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, "got [token]", failure.Fields[0].Message)
	assert.NotContains(t, fmt.Sprintf("%v %+v", err, failure.Fields), "secret-of")
}

func TestTokenGivenForAnIDIsNotShown(t *testing.T) {
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := newService(t).on("GET", "/requests/"+testToken, answer(404, `{"detail":"Not Found"}`))
	_, err := s.client(letagentpay.WithLogger(logger)).Request(t.Context(), testToken)
	require.ErrorIs(t, err, letagentpay.ErrNotFound)
	var failure *letagentpay.APIError
	require.ErrorAs(t, err, &failure)
	assert.NotContains(t, failure.Path+err.Error()+logged.String(), "secret-of")
}
