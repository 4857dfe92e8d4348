package main

import (
	"context"
	"net/http"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// askOpenAI pays for an answer of a model. openai-go retries a call up to twice, after a broken connection, 408, 409,
// 429 and 5xx, and sends no idempotency key. The scope of ctx makes all attempts one purchase. An agent that calls more
// than once in a scope gives each call a description of its own, or an Idempotency-Key with option.WithHeader.
func askOpenAI(ctx context.Context, address string, guard http.RoundTripper) error {
	client := openai.NewClient(
		option.WithAPIKey("sk-of-the-example"), // else OPENAI_API_KEY
		option.WithBaseURL(address+"/v1/"),
		option.WithHTTPClient(&http.Client{Transport: guard}),
	)
	_, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model:    openai.ChatModelGPT5_4Mini,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Which oats are cheapest?")},
	})
	return err
}
