package timeline

// A recent is a map that forgets what was not used for long, in bounded memory.
type recent[K comparable, T any] struct {
	most     int // in each of the two
	now, old map[K]T
}

func newRecent[K comparable, T any](most int) *recent[K, T] {
	return &recent[K, T]{most: most, now: map[K]T{}}
}

func (r *recent[K, T]) get(key K) (v T, ok bool) {
	if v, ok = r.now[key]; !ok {
		if v, ok = r.old[key]; ok {
			r.put(key, v)
		}
	}
	return v, ok
}

func (r *recent[K, T]) put(key K, v T) {
	if len(r.now) >= r.most {
		r.old, r.now = r.now, make(map[K]T)
	}
	r.now[key] = v
}

// of returns the value of key, made if there is none.
func (r *recent[K, T]) of(key K, make func() T) T {
	v, ok := r.get(key)
	if !ok {
		v = make()
		r.put(key, v)
	}
	return v
}
