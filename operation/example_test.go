package operation_test

import (
	"fmt"

	"github.com/letagentpay/letagentpay-go/operation"
)

func ExampleOp_Endpoint() {
	fmt.Println(operation.Confirm.Endpoint())
	method, path := operation.Guard.Endpoint()
	fmt.Printf("%q %q\n", method, path)
	// Output:
	// POST /agent-api/requests/{request_id}/confirm
	// "" ""
}
