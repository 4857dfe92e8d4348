module github.com/letagentpay/letagentpay-go/tools/mutate

go 1.26.0
