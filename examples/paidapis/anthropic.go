package main

import (
	"context"
	"net/http"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// askAnthropic pays for an answer of a model. anthropic-sdk-go retries a call up to twice, after a broken connection,
// 408, 409, 429 and 5xx, and sends no idempotency key. The scope of ctx makes all attempts one purchase, as for
// openai-go.
func askAnthropic(ctx context.Context, address string, guard http.RoundTripper) error {
	client := anthropic.NewClient(
		option.WithAPIKey("sk-of-the-example"), // else ANTHROPIC_API_KEY
		option.WithBaseURL(address),
		option.WithHTTPClient(&http.Client{Transport: guard}),
	)
	_, err := client.Messages.New(ctx, anthropic.MessageNewParams{
		Model:     anthropic.ModelClaudeHaiku5_5,
		MaxTokens: 100,
		Messages: []anthropic.MessageParam{
			anthropic.NewUserMessage(anthropic.NewTextBlock("Which oats are cheapest?")),
		},
	})
	return err
}
