// Package docs holds the documents of the repository's root that programs show and tests check: embedding does not
// reach them where they are, so these are copies, which a test holds equal to the originals.
package docs

import _ "embed"

//go:generate cp ../../openapi.yaml ../../llms.txt .

// OpenAPI is openapi.yaml, the contract of the Agent API and the x402 API.
//
//go:embed openapi.yaml
var OpenAPI []byte

// LLMs is llms.txt, a page for language models on the API and the SDK.
//
//go:embed llms.txt
var LLMs []byte
