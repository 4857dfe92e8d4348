package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHelloPrintsWhatTheReadmeShows(t *testing.T) {
	stdout := os.Stdout
	t.Cleanup(func() { os.Stdout = stdout })
	read, write, err := os.Pipe()
	require.NoError(t, err)
	os.Stdout = write
	main()
	require.NoError(t, write.Close())
	output, err := io.ReadAll(read)
	require.NoError(t, err)
	assert.Regexp(t, `^receipt for apples, error: <nil>
refused: letagentpay: purchase [0-9a-f-]{36} was rejected: per_request_limit \(.*\)
spent: 49.99 USD
$`, string(output))

	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	shown := strings.Contains(string(readme), "receipt for apples, error: <nil>\nrefused: letagentpay: purchase ")
	assert.True(t, shown, "README.md does not show this output")
}
