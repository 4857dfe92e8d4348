package letagentpay

// Process is a process of its own, as far as clients can tell: they share neither memory nor locks with others.
type Process = process

// NewProcess returns a process that remembers nothing.
func NewProcess() *Process { return newProcess() }

// InProcess puts a client into a process.
func InProcess(p *Process) Option {
	return func(c *config) error {
		c.process = p
		return nil
	}
}
