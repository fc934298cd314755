package carried

// Within calls visit with err and with each error that it wraps. errors.As stops at
// the first of a type, but the next one in a join may say more.
func Within(err error, visit func(error)) {
	if err == nil {
		return
	}
	visit(err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		Within(e.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, e := range e.Unwrap() {
			Within(e, visit)
		}
	}
}

// IsPermanent reports whether a restart cannot mend err. restart.Permanent marks such
// errors, and any error type may have its method.
func IsPermanent(err error) (found bool) {
	Within(err, func(e error) {
		p, ok := e.(interface{ Permanent() bool })
		found = found || ok && p.Permanent()
	})
	return found
}
