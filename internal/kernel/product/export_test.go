package product

import "time"

// fix sets the distance for good.
func (d *distance) fix(far bool) { d.far, d.last = far, time.Now().Add(time.Hour) }
