package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"qtool/internal/records/jsontext"
)

// writer appends a value as JSON.
type writer func(dst []byte, v value) ([]byte, error)

// writerOf is the writer of a leaf: by what its type stands for, and else by how it is
// stored.
func writerOf(e format.SchemaElement, width int) (writer, error) {
	w, err := logicalWriter(e, width)
	if w != nil || err != nil {
		return w, err
	}
	switch e.Type.V {
	case format.Boolean:
		return writeBool, nil
	case format.Int32:
		return writeInt32, nil
	case format.Int64:
		return writeInt64, nil
	case format.Int96:
		return writeInt96, nil
	case format.Float:
		return writeFloat, nil
	case format.Double:
		return writeDouble, nil
	case format.ByteArray, format.FixedLenByteArray:
		return writeText, nil
	}
	return nil, fmt.Errorf("its values are of type %d, which is not known", e.Type.V)
}

// logicalWriter is nil for types that are written as they are stored.
func logicalWriter(e format.SchemaElement, width int) (writer, error) {
	if c := e.ConvertedType; e.LogicalType.Value == nil && c.Valid {
		return convertedWriter(c.V, e, width)
	}
	switch t := e.LogicalType.Value.(type) {
	case *format.DateType:
		return writeDate, nil
	case *format.TimestampType:
		return timestampWriter(unitOf(t.Unit)), nil
	case *format.TimeType:
		return clockWriter(unitOf(t.Unit)), nil
	case *format.IntType:
		if !t.IsSigned {
			return unsignedWriter(e.Type.V), nil
		}
	case *format.DecimalType:
		return decimalWriter(e.Type.V, t.Scale)
	case *format.UUIDType:
		if width == 16 {
			return writeUUID, nil
		}
	case *format.Float16Type:
		if width == 2 {
			return writeFloat16, nil
		}
	case *format.NullType:
		return func(dst []byte, _ value) ([]byte, error) { return append(dst, "null"...), nil }, nil
	}
	return nil, nil
}

func convertedWriter(c deprecated.ConvertedType, e format.SchemaElement, width int) (writer, error) {
	switch c {
	case deprecated.Date:
		return writeDate, nil
	case deprecated.TimestampMillis:
		return timestampWriter(time.Millisecond), nil
	case deprecated.TimestampMicros:
		return timestampWriter(time.Microsecond), nil
	case deprecated.TimeMillis:
		return clockWriter(time.Millisecond), nil
	case deprecated.TimeMicros:
		return clockWriter(time.Microsecond), nil
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return unsignedWriter(e.Type.V), nil
	case deprecated.Decimal:
		return decimalWriter(e.Type.V, e.Scale.V)
	case deprecated.Interval:
		if width == 12 {
			return writeInterval, nil
		}
	}
	return nil, nil
}

func unitOf(u format.TimeUnit) time.Duration {
	if u.Value == nil {
		return time.Millisecond
	}
	return u.Value.Duration()
}

func writeBool(dst []byte, v value) ([]byte, error) {
	return strconv.AppendBool(dst, v.bits != 0), nil
}

func writeInt32(dst []byte, v value) ([]byte, error) {
	return strconv.AppendInt(dst, int64(int32(v.bits)), 10), nil
}

func writeInt64(dst []byte, v value) ([]byte, error) {
	return strconv.AppendInt(dst, int64(v.bits), 10), nil
}

func unsignedWriter(t format.Type) writer {
	return func(dst []byte, v value) ([]byte, error) {
		if t == format.Int32 {
			v.bits = uint64(uint32(v.bits))
		}
		return strconv.AppendUint(dst, v.bits, 10), nil
	}
}

func writeFloat(dst []byte, v value) ([]byte, error) {
	return appendFloat(dst, float64(math.Float32frombits(uint32(v.bits))), 32), nil
}

func writeDouble(dst []byte, v value) ([]byte, error) {
	return appendFloat(dst, math.Float64frombits(v.bits), 64), nil
}

// appendFloat writes null for what JSON has no number for; NaN often stands for a missing
// one.
func appendFloat(dst []byte, f float64, size int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, size)
}

// writeFloat16 unfolds sign, exponent and fraction of 1, 5 and 10 bits.
func writeFloat16(dst []byte, v value) ([]byte, error) {
	h := binary.LittleEndian.Uint16(v.bytes)
	exponent, fraction := int(h>>10&31), float64(h&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		f = math.NaN()
	default:
		f = math.Ldexp(1024+fraction, exponent-25)
	}
	if h>>15 == 1 {
		f = -f
	}
	return appendFloat(dst, f, 32), nil
}

// writeText writes byte arrays, whether they are declared to be text or not: older writers
// declare nothing.
func writeText(dst []byte, v value) ([]byte, error) {
	if !utf8.Valid(v.bytes) {
		return dst, errNotText
	}
	return jsontext.AppendString(dst, v.bytes), nil
}

var errNotText = errors.New("holds bytes that are not UTF-8; leave the column out, or write its text in UTF-8")

func writeUUID(dst []byte, v value) ([]byte, error) {
	b := v.bytes
	return fmt.Appendf(dst, `"%x-%x-%x-%x-%x"`, b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

func writeInterval(dst []byte, v value) ([]byte, error) {
	n := func(i int) uint32 { return binary.LittleEndian.Uint32(v.bytes[4*i:]) }
	return fmt.Appendf(dst, `{"months":%d,"days":%d,"milliseconds":%d}`, n(0), n(1), n(2)), nil
}

func writeDate(dst []byte, v value) ([]byte, error) {
	return appendTime(dst, time.Unix(int64(int32(v.bits))*24*60*60, 0), time.DateOnly), nil
}

func timestampWriter(unit time.Duration) writer {
	perSecond := int64(time.Second / unit)
	return func(dst []byte, v value) ([]byte, error) {
		n := int64(v.bits)
		seconds, rest := n/perSecond, n%perSecond
		return appendTime(dst, time.Unix(seconds, rest*int64(unit)), time.RFC3339Nano), nil
	}
}

func clockWriter(unit time.Duration) writer {
	const day = 24 * time.Hour
	return func(dst []byte, v value) ([]byte, error) {
		n := int64(v.bits)
		if unit == time.Millisecond {
			n = int64(int32(v.bits))
		}
		if n < 0 || n >= int64(day/unit) {
			return dst, fmt.Errorf("has %d as a time of the day", n)
		}
		return appendTime(dst, time.Unix(0, n*int64(unit)), "15:04:05.999999999"), nil
	}
}

// writeInt96 writes the time stamps of older writers: nanoseconds of a Julian day.
func writeInt96(dst []byte, v value) ([]byte, error) {
	const epoch = 2440588
	nanoseconds, day := binary.LittleEndian.Uint64(v.bytes), binary.LittleEndian.Uint32(v.bytes[8:])
	seconds := (int64(day) - epoch) * 24 * 60 * 60
	return appendTime(dst, time.Unix(seconds+int64(nanoseconds/1e9), int64(nanoseconds%1e9)), time.RFC3339Nano), nil
}

func appendTime(dst []byte, t time.Time, layout string) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, layout)
	return append(dst, '"')
}

const maxScale = 1000

// decimalWriter writes integers of any length that count units of 10 to the power of
// -scale.
func decimalWriter(t format.Type, scale int32) (writer, error) {
	if scale < 0 || scale > maxScale {
		return nil, fmt.Errorf("its decimals have a scale of %d", scale)
	}
	return func(dst []byte, v value) ([]byte, error) {
		n := new(big.Int)
		switch {
		case t == format.Int32:
			n.SetInt64(int64(int32(v.bits)))
		case t == format.Int64:
			n.SetInt64(int64(v.bits))
		case len(v.bytes) > maxScale:
			return dst, fmt.Errorf("has a decimal of %d bytes", len(v.bytes))
		default:
			n.SetBytes(v.bytes)
			if len(v.bytes) > 0 && v.bytes[0] >= 0x80 { // two's complement
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v.bytes))))
			}
		}
		return appendScaled(dst, n, int(scale)), nil
	}, nil
}

func appendScaled(dst []byte, n *big.Int, scale int) []byte {
	if n.Sign() < 0 {
		dst = append(dst, '-')
		n.Neg(n)
	}
	digits := n.String()
	for len(digits) <= scale {
		digits = "0" + digits
	}
	point := len(digits) - scale
	dst = append(dst, digits[:point]...)
	if scale == 0 {
		return dst
	}
	return append(append(dst, '.'), digits[point:]...)
}
