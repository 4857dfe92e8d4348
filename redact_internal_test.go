package letagentpay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTokensAreRecognisedHoweverTheyAreSpelled(t *testing.T) {
	for text, want := range map[string]string{
		"Bearer agt_abc-DEF_1":                   "Bearer [token]",
		"agt_abc and agt_def, too":               "[token] and [token] too",
		"Bearer AGT_ABC-DEF":                     "Bearer [token]",
		"Agt_abc":                                "[token]",
		"Bearer agt_abc...":                      "Bearer [token]",
		"Bearer agt_abc…wxyz":                    "Bearer [token]",
		"Bearer agt_":                            "Bearer [token]",
		"Bearer%20agt_abc%2Fdef&x=1":             "Bearer%20[token]",
		"token=agt%5Fabc":                        "token=[token]",
		"token=agt%5fabc":                        "token=[token]",
		"token=agt%255Fabc":                      "token=[token]",
		"&lt;agt&#95;abc&gt; x":                  "&lt;[token] x",
		"agt&lowbar;abc x":                       "[token] x",
		`{"h":"Bearer agt_ab\/cd+ef","n":1}`:     `{"h":"Bearer [token]","n":1}`,
		`{"h":"agt_ab\u002dcd"}`:                 `{"h":"[token]"}`,
		`{"h":"agt\u005Fabcd"}`:                  `{"h":"[token]"}`,
		`{"h":"\u0061gt_abcd"}`:                  `{"h":"[token]"}`,
		`{"h":"agt_a\"quoted\"one"}`:             `{"h":"[token]"}`,
		`{"h":"{\"h\":\"agt\\u005fabc\"}"}`:      `{"h":"{\"h\":\"[token]\"}"}`,
		`say \"agt_abc\" twice\nand agt_d\nmore`: `say \"[token]\" twice\nand [token]\nmore`,
		`agt_a"quoted"one`:                       `[token]`,
		`b'agt\x5fabc'`:                          `b'[token]`,
		`agt\`:                                   `agt\`,
		`agt\u00`:                                `agt\u00`,
		`agt%`:                                   `agt%`,
		"agt":                                    "agt",
		"agt-abc, agent_1 and tag_2":             "agt-abc, agent_1 and tag_2",
	} {
		assert.Equal(t, want, redact("", text), text)
		assert.Equal(t, want != text, holdsToken(text), text)
	}
	for text, want := range map[string]string{
		// The known token continues after the quotation mark, and not after the space.
		`AGT_A" B"`:            `[token] B"`,
		`agt_a"(b`:             `[token]`,
		"agt_long-\n  token x": "[token] x",
		"agt_long-\n  line":    "[token]\n  line",
		`x`:                    `x`,
	} {
		token := `agt_a"(b`
		if strings.Contains(text, "long") {
			token = "agt_long-token"
		}
		assert.Equal(t, want, redact(token, text), text)
	}
}

func TestForeignTextIsOneBoundedLineThatHidesNothing(t *testing.T) {
	for text, want := range map[string]string{
		"Agent is paused": "Agent is paused",
		"Größe  überschritten: 5 € – ✓ 日本":     "Größe  überschritten: 5 € – ✓ 日本",
		"no\ntime=2026 level=INFO":             "no time=2026 level=INFO",
		"a\r\n\t b\n\n":                        "a b",
		"\n a":                                 " a",
		"a\u2028b\u2029c\u0085d":               "a b c d",
		"\x1b[2Ja\x00b\x7f":                    "[2Jab",
		"a\u202eb\u2066c\u200bd\ufeff":         "abcd",
		"a\xffb":                               "a\uFFFDb",
		"agt_se\u200bcret\x00s":                "[token]",
		"ag\u200bt_secret":                     "[token]",
		"":                                     "",
		strings.Repeat("x", 40):                strings.Repeat("x", 40),
		strings.Repeat("é", 41):                strings.Repeat("é", 40) + "…",
		strings.Repeat("\x00", 4000) + "x":     "…",
		strings.Repeat("x", 38) + "agt_secret": strings.Repeat("x", 38) + "[t…",
	} {
		assert.Equal(t, want, cleaned(text, 40), "%q", text)
	}
	assert.Equal(t, `"a\"b"`, quoted(`a"b`, 40))
}

// FuzzCleaned cleans texts of every kind that contain a token.
func FuzzCleaned(f *testing.F) {
	f.Add("Bearer ", "\n", false)
	f.Add(`{"h":"\\`, `","n":1}`, true)
	f.Add("%2", "%", false)
	f.Add("\xff\u202e&#x", "\u200b;", true)
	f.Fuzz(func(t *testing.T, before, after string, upper bool) {
		const token = `agt_Zq7-"Zq8_Zq9`
		echoed := token
		if upper {
			echoed = strings.ToUpper(token)
		}
		const longest = 60
		text := cleanedOf(token, before+echoed+after, longest)
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > longest+1 {
			t.Fatalf("%q", text)
		}
		for _, r := range text {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
				t.Fatalf("%q holds %q", text, r)
			}
		}
		if holdsToken(text) {
			t.Fatalf("%q contains a token", text)
		}
		for _, part := range []string{"Zq7", "Zq8", "Zq9"} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(part)) &&
				!strings.Contains(strings.ToLower(before+after), "zq") {
				t.Fatalf("%q contains a part of the token", text)
			}
		}
	})
}

// telling is an error whose text contains a token and which wraps others.
type telling struct{ causes []error }

func (e *telling) Error() string   { return "Bearer agt_secret" }
func (e *telling) Unwrap() []error { return e.causes }

// dispenser hands out an error that its text does not show.
type dispenser struct{ inside error }

func (d dispenser) Error() string { return "dispenser" }

func (d dispenser) As(target any) bool {
	if into, ok := target.(**telling); ok {
		*into, ok = d.inside.(*telling)
		return ok
	}
	return false
}

type silent struct{ cause error }

func (s silent) Error() string { return "silent" }
func (s silent) Unwrap() error { return s.cause }

func TestCausesThatTellATokenAreNotHandedOut(t *testing.T) {
	client, err := New(WithToken("agt_x"))
	require.NoError(t, err)
	t.Run("clean errors stay as they are", func(t *testing.T) {
		for _, err := range []error{io.EOF, &net.OpError{Op: "read", Err: io.EOF}, fmt.Errorf("x: %w", io.EOF)} {
			assert.Equal(t, err, client.transport.redactError(err))
		}
	})
	t.Run("as far as they are clean", func(t *testing.T) {
		clean := &net.AddrError{Err: "bad", Addr: "x"}
		for _, err := range []error{
			&telling{[]error{io.EOF, clean}},
			silent{&telling{[]error{clean, io.EOF}}},
			errors.Join(&telling{}, io.EOF, clean),
			fmt.Errorf("%w agt_secret %w", io.EOF, clean),
		} {
			foreign := client.transport.redactError(err)
			assert.NotContains(t, foreign.Error(), "secret")
			require.ErrorIs(t, foreign, io.EOF)
			var reached *net.AddrError
			require.ErrorAs(t, foreign, &reached)
			assert.Same(t, clean, reached)
			var tell *telling
			assert.NotErrorAs(t, foreign, &tell)
			var hush silent
			assert.NotErrorAs(t, foreign, &hush, "the error that wraps it contains a token")
		}
	})
	t.Run("not through an As method either", func(t *testing.T) {
		foreign := client.transport.redactError(errors.Join(errors.New("agt_secret"), dispenser{&telling{}}))
		var tell *telling
		assert.NotErrorAs(t, foreign, &tell)
		assert.Nil(t, tell)
		var clean dispenser
		assert.ErrorAs(t, foreign, &clean)
	})
	t.Run("nor by printing", func(t *testing.T) {
		type wrapper struct{ Err error }
		foreign := client.transport.redactError(&telling{})
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			assert.NotContains(t, fmt.Sprintf(verb, foreign), "secret", verb)
			assert.NotContains(t, fmt.Sprintf(verb, wrapper{foreign}), "secret", verb)
		}
	})
	t.Run("an error without a text", func(t *testing.T) {
		var none *telling
		var operation *net.ParseError
		for _, err := range []error{none, operation, silent{operation}} {
			assert.NotPanics(t, func() { assert.NotEmpty(t, client.transport.redactError(err).Error()) })
		}
	})
}

func TestRefusedValuesDoNotTellATokenThatIsInTheWrongPlace(t *testing.T) {
	for _, value := range []string{"agt_secret", "AGT_SECRET", `agt\u005fsecret`, "agt%5Fsecret"} {
		e := paramError("PurchaseParams.Category", value, "want another")
		assert.Empty(t, e.Value)
		assert.NotContains(t, strings.ToLower(e.Error()), "secret")
	}
	_, err := ParseAmount("agt_secret")
	require.Error(t, err)
	for ; err != nil; err = errors.Unwrap(err) {
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "secret")
	}
}
