package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStoryEndsAsAnnounced(t *testing.T) {
	t.Setenv("LETAGENTPAY_TOKEN", "")
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	for _, line := range []string{
		"in category groceries is auto_approved.",
		"in category electronics is pending.",
		"in category flights is rejected.",
		"Paid 47.50 and confirmed: completed.",
		"47.50 spent, 0.00 held, 452.50 of 500.00 USD left.",
		"for the human: approved.",
		"Rule per_request_limit:",
		"The function runs, under approval",
		"Refused by per_request_limit; the function did not run.",
		"195.90 spent, 0.00 held, 304.10 of 500.00 USD left.",
		"Done:",
	} {
		assert.Contains(t, out.String(), line)
	}
	assert.Regexp(t, regexp.MustCompile(`(?m)^5\. `), out.String())
}

// With a token the program talks to that service, and accepts what its policy decides. The categories are those of the
// account: food if there is any, else the first.
func TestStoryUsesTheServiceAndTheCategoriesThatItIsGiven(t *testing.T) {
	for name, test := range map[string]struct{ categories, want []string }{
		"new account": {
			categories: []string{"other"},
			want:       []string{"other", "other", "other", "other", "other"},
		},
		"other names": {
			categories: []string{"food", "travel", "books"},
			want:       []string{"food", "books", "travel", "food", "food"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := letagentpaytest.NewServer(t,
				letagentpaytest.WithBudget(letagentpay.MustAmount("10")),
				letagentpaytest.WithCategories(test.categories...),
			)
			t.Setenv("LETAGENTPAY_TOKEN", server.Token)
			t.Setenv("LETAGENTPAY_BASE_URL", server.URL)
			var out strings.Builder
			require.NoError(t, run(t.Context(), &out))
			assert.Contains(t, out.String(), "Talking to "+server.URL)
			assert.Contains(t, out.String(), "is rejected.")
			var categories []string
			for _, request := range server.Requests() {
				categories = append(categories, request.Category)
				assert.Empty(t, request.OriginalCategory, "sent under a name that the account does not have")
			}
			assert.Equal(t, test.want, categories)
			assert.Zero(t, server.Budget().Spent)
		})
	}
}
