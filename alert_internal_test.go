package letagentpay

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type unprintable struct{ text string }

func (e *unprintable) Error() string { return e.text }

func TestAlertNeedsNeitherContextNorText(t *testing.T) {
	var logged bytes.Buffer
	client, err := New(WithToken("agt_secret-of-this-test"), WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	require.NoError(t, err)
	text := userErrorText((*unprintable)(nil))
	//lint:ignore SA1012 a nil context is what this tests
	client.alert(nil, "letagentpay.test", slog.String("error", text))
	assert.Contains(t, logged.String(), `level=WARN msg=letagentpay.test error="an error whose text is not available`)
	client.alert(t.Context(), "letagentpay.test",
		slog.String("error", userErrorText(&unprintable{"no agt_secret-of-this-test"})))
	assert.Contains(t, logged.String(), "no [token]")
}
