// Package api is the contract of both the client and the embedded server. Generated from openapi.yaml are the wire
// types, the request builders and the interface [Handlers], which makes the embedded server handle every operation.
// Written by hand are the types that the wire form of decimals and times needs.
package api

// The tools module is not part of the workspace, and -modfile is refused in one.
//go:generate env GOWORK=off go tool -modfile=../../tools/go.mod oapi-codegen -config oapi-codegen.yaml ../../openapi.yaml
