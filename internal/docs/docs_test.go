package docs

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCopiesAreThoseOfTheRoot(t *testing.T) {
	for name, embedded := range map[string][]byte{"openapi.yaml": OpenAPI, "llms.txt": LLMs} {
		original, err := os.ReadFile("../../" + name)
		require.NoError(t, err)
		assert.True(t, string(original) == string(embedded), "%s has changed: go generate ./internal/docs", name)
	}
}
