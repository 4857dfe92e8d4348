package otelletagentpay

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/operation"
)

// scopeName names the instrumentation scope of spans and metrics.
const scopeName = "github.com/letagentpay/letagentpay-go/integrations/otel"

const (
	requestIDKey = attribute.Key("letagentpay.request.id")
	operationKey = attribute.Key("letagentpay.operation")
	decisionKey  = attribute.Key("letagentpay.decision")
	outcomeKey   = attribute.Key("letagentpay.outcome")
	amountKey    = attribute.Key("letagentpay.amount")
	currencyKey  = attribute.Key("letagentpay.currency")
	categoryKey  = attribute.Key("letagentpay.category")
)

// Option adjusts an [Observer]; see [New].
type Option func(*config) error

type config struct {
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	attributes     []attribute.KeyValue
	errorMessages  bool
}

// WithTracerProvider sets where spans go. The default is the global provider, even if it is set after [New].
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(c *config) error {
		if provider == nil {
			return invalid("WithTracerProvider", "", "want a provider; leave the option out for the global one")
		}
		c.tracerProvider = provider
		return nil
	}
}

// WithMeterProvider sets where metrics go. The default is the global provider, even if it is set after [New].
func WithMeterProvider(provider metric.MeterProvider) Option {
	return func(c *config) error {
		if provider == nil {
			return invalid("WithMeterProvider", "", "want a provider; leave the option out for the global one")
		}
		c.meterProvider = provider
		return nil
	}
}

// WithAttributes adds attributes to every span and every measurement, such as the name of the client's agent. A second
// WithAttributes adds more. The names in the package documentation, and all others that begin with "letagentpay.", are
// refused. A value that changes often makes many time series.
func WithAttributes(attributes ...attribute.KeyValue) Option {
	return func(c *config) error {
		for _, a := range attributes {
			switch {
			case !a.Valid():
				return invalid("WithAttributes", string(a.Key), "want attributes with a name and a value")
			case strings.HasPrefix(string(a.Key), "letagentpay."),
				a.Key == semconv.ErrorTypeKey, a.Key == semconv.HTTPResponseStatusCodeKey:
				return invalid("WithAttributes", string(a.Key), "want a name that the observer does not set itself")
			}
		}
		c.attributes = append(c.attributes, attributes...)
		return nil
	}
}

// WithErrorMessages sets the description of a span's status to the message of its error. The error of a guarded
// function may contain anything. Messages of the SDK contain the service's explanations, and no secrets.
func WithErrorMessages() Option {
	return func(c *config) error {
		c.errorMessages = true
		return nil
	}
}

func invalid(option, value, reason string) error {
	return &letagentpay.ParamError{Field: option, Value: value, Reason: reason}
}

// Observer records the operations of LetAgentPay clients as spans and metrics; see the package documentation for their
// names. Any number of clients may share one. It is safe for concurrent use.
type Observer struct {
	tracer           trace.Tracer
	metrics          *metrics
	attributes       []attribute.KeyValue
	errorMessages    bool
	client, internal []trace.SpanStartOption // of spans of these kinds
}

var _ letagentpay.Observer = (*Observer)(nil)

// New returns an observer for [letagentpay.WithObserver]. The error is a [*letagentpay.ParamError] for an invalid
// option, or comes from the meter provider.
func New(opts ...Option) (*Observer, error) {
	c := config{tracerProvider: otel.GetTracerProvider(), meterProvider: otel.GetMeterProvider()}
	for _, option := range opts {
		if option == nil {
			return nil, invalid("Option", "", "want an option, not nil")
		}
		if err := option(&c); err != nil {
			return nil, err
		}
	}
	measured, err := newMetrics(c.meterProvider)
	if err != nil {
		return nil, err
	}
	tracer := c.tracerProvider.Tracer(
		scopeName,
		trace.WithInstrumentationVersion(letagentpay.Version),
		trace.WithSchemaURL(semconv.SchemaURL),
	)
	constant := trace.WithAttributes(c.attributes...)
	return &Observer{
		tracer:        tracer,
		metrics:       measured,
		attributes:    c.attributes,
		errorMessages: c.errorMessages,
		client:        []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), constant},
		internal:      []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindInternal), constant},
	}, nil
}

// Begin starts a span. The function that it returns ends the span and measures the operation. The client calls both.
func (obs *Observer) Begin(ctx context.Context, op operation.Op) (context.Context, func(letagentpay.Observation)) {
	opts := obs.internal
	if op == operation.Purchase || op == operation.Confirm {
		opts = obs.client
	}
	ctx, span := obs.tracer.Start(ctx, "letagentpay."+string(op), opts...)
	return ctx, func(o letagentpay.Observation) {
		ending := endOf(&o)
		obs.metrics.record(ctx, &o, ending, obs.attributes) // before the span ends, so that exemplars refer to it
		if span.IsRecording() {
			obs.describe(span, &o, ending)
		}
		span.End()
	}
}

func (obs *Observer) describe(span trace.Span, o *letagentpay.Observation, ending end) {
	attributes := make([]attribute.KeyValue, 0, 8)
	add := func(key attribute.Key, value string) {
		if value != "" {
			attributes = append(attributes, key.String(value))
		}
	}
	add(requestIDKey, o.RequestID)
	add(decisionKey, ending.decision)
	add(outcomeKey, ending.outcome)
	if !o.Amount.IsZero() {
		add(amountKey, o.Amount.String())
	}
	add(currencyKey, o.Currency)
	add(categoryKey, o.Category)
	add(semconv.ErrorTypeKey, ending.errorType)
	if ending.errorType != "" {
		api, ok := errors.AsType[*letagentpay.APIError](o.Err)
		if ok && api.StatusCode != 0 && o.Op != operation.Guard {
			attributes = append(attributes, semconv.HTTPResponseStatusCode(api.StatusCode))
		}
		message := ""
		if obs.errorMessages {
			message = o.Err.Error()
		}
		span.SetStatus(codes.Error, message)
	}
	span.SetAttributes(attributes...)
}
