// Package api is the contract of both the client and the embedded server. The wire types are generated from
// openapi.yaml, and so is the interface [Handlers], which makes the embedded server handle every operation. The types
// for the wire form of decimals and times are written by hand.
package api

// The tools module is not part of the workspace, and -modfile is refused in one.
//go:generate env GOWORK=off go tool -modfile=../../tools/go.mod oapi-codegen -config oapi-codegen.yaml ../../openapi.yaml
