package letagentpay

// Process stands for a process: its clients share neither memory nor locks with the clients of another one.
type Process = process

// NewProcess returns a process with an empty memory.
func NewProcess() *Process { return newProcess() }

// InProcess assigns the client to a process.
func InProcess(p *Process) Option {
	return func(c *config) error {
		c.process = p
		return nil
	}
}
