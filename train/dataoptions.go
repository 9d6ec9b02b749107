package train

import (
	"qtool/internal/dataset"
	"qtool/internal/usage"
)

// DataOptions say how records are read and what of them is learned. The zero value suits
// data in the usual forms.
type DataOptions struct {
	// Format is the form of all records, one of [Formats]; "" recognises it by keys.
	Format string
	// Keys of JSON records; "" are the usual ones.
	MessagesField, SystemField string
	IgnoreKeys                 []string // keys that may be passed over
	// TrainOn is what is learned: assistant, last, all or after:MARKER; "" is assistant.
	TrainOn string
	// Long is what becomes of records longer than a row: skip, truncate-left,
	// truncate-right, split or refuse; "" is skip.
	Long      string
	KeepEmpty bool // learn empty answers: to stop at once
	SkipBad   bool // count records that cannot be used instead of failing
}

// Formats are the names of forms that records may have.
var Formats = dataset.Formats()

// options are the DataOptions as package dataset has them.
func (d *DataOptions) options(o *dataset.Options) (err error) {
	o.Format, o.MessagesField, o.SystemField, o.IgnoreKeys = d.Format, d.MessagesField, d.SystemField, d.IgnoreKeys
	o.KeepEmpty, o.SkipBad = d.KeepEmpty, d.SkipBad
	if err := o.Check(); err != nil {
		return usage.Errorf("--format: %v", err)
	}
	if o.TrainOn, err = dataset.ParseTrainOn(d.TrainOn); err != nil {
		return usage.Errorf("--train-on: %v", err)
	}
	if d.Long != "" {
		if o.Long, err = dataset.ParseLong(d.Long); err != nil {
			return usage.Errorf("--long: %v", err)
		}
	}
	return nil
}
