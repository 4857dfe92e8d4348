// Package api holds what is generated from openapi.yaml, the contract of both the client and the embedded server: wire
// types, request builders and the server's routes; and, by hand, the types that the wire form of decimals and times
// needs.
package api

// The tools module is not part of the workspace, and -modfile is refused in one.
//go:generate env GOWORK=off go tool -modfile=../../tools/go.mod oapi-codegen -config oapi-codegen.yaml ../../openapi.yaml
