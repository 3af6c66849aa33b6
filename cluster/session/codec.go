package session

import (
	"fmt"
	"math"
)

// Version bytes. A decoder refuses what it does not know; a new form gets a new number, and the old one stays
// readable as long as logs and snapshots with it may exist.
const (
	entryVersion   = 1
	commandVersion = 1 // of every kind
	pinnedMember   = 2 // of PutMember with a pin
	namedBy        = 2 // of what ends sessions, when it says who does
	ifRevRealm     = 2 // of UpdateRealm with a revision
	resultVersion  = 1
)

// body is what each command has of its encoding: its fields, as an array.
type body interface {
	Command
	appendBody(dst []byte) []byte
	readBody(r *reader)
}

// EncodeEntry appends the entry's encoding to dst.
func EncodeEntry(dst []byte, e *Entry) ([]byte, error) {
	if e.Stamp < 0 || e.Stamp > MaxTime {
		return dst, fmt.Errorf("encode entry stamped %d: %w", e.Stamp, ErrBadEncoding)
	}
	out := appendTime(appendUint(dst, entryVersion), e.Stamp)
	out = appendArray(out, len(e.Commands))
	for _, c := range e.Commands {
		var err error
		if out, err = AppendCommand(out, c); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// DecodeEntry reads an entry. It shares no memory with b. The error is ErrUnknownKind or ErrBadEncoding.
func DecodeEntry(b []byte) (*Entry, error) {
	r := &reader{b: b}
	if version := r.uint(); r.bad || version != entryVersion {
		return nil, versionError("entry", version, r.bad)
	}
	e := &Entry{Stamp: r.time()}
	r.expect(e.Stamp >= 0 && e.Stamp <= MaxTime)
	n := r.array(minCommand)
	if r.bad {
		return nil, fmt.Errorf("decode entry: %w", ErrBadEncoding)
	}
	if n > 0 {
		e.Commands = make([]Command, n)
	}
	for i := range e.Commands {
		var err error
		if e.Commands[i], r.b, err = DecodeCommand(r.b); err != nil {
			return nil, fmt.Errorf("decode entry, command %d: %w", i, err)
		}
	}
	if len(r.b) != 0 {
		return nil, fmt.Errorf("decode entry: %d bytes left: %w", len(r.b), ErrBadEncoding)
	}
	return e, nil
}

// minCommand is the length of the shortest command: kind, version, an empty array.
const minCommand = 3

// AppendCommand appends the command's encoding to dst: kind, version, and an array of its fields. It refuses what
// DecodeCommand would refuse: nothing that can't be read again may get into a log.
func AppendCommand(dst []byte, c Command) ([]byte, error) {
	b, ok := c.(body)
	if !ok {
		return dst, fmt.Errorf("encode command of type %T: %w", c, ErrUnknownKind)
	}
	if !encodable(c) {
		return dst, fmt.Errorf("encode command of kind %d: %w", c.Kind(), ErrBadEncoding)
	}
	dst = appendUint(dst, uint64(b.Kind()))
	dst = appendUint(dst, formOf(c))
	return b.appendBody(dst), nil
}

// formOf returns the version byte of the command's encoding, the lowest of its kind that can say all of it: what an
// older build may have to read is written as that build does.
func formOf(c Command) uint64 {
	if c, ok := c.(*PutMember); ok && c.Member.Pin != PinNone {
		return pinnedMember
	}
	if c, ok := c.(*UpdateRealm); ok && c.IfRev != 0 {
		return ifRevRealm
	}
	if by := nameIn(c); by != nil && *by != "" {
		return namedBy
	}
	if c, ok := c.(*EndUser); ok && c.Reason != 0 {
		return namedBy
	}
	return commandVersion
}

// knownForm reports whether the version byte is one of the command's kind.
func knownForm(c Command, form uint64) bool {
	switch {
	case form == commandVersion:
		return true
	case form == pinnedMember && c.Kind() == KindPutMember, form == ifRevRealm && c.Kind() == KindUpdateRealm:
		return true
	}
	return form == namedBy && nameIn(c) != nil
}

// nameIn returns where a command of an older version says who ends sessions; nil: it ends none, or always says.
func nameIn(c Command) *string {
	switch c := c.(type) {
	case *Invalidate:
		return &c.By
	case *EndUser:
		return &c.By
	case *UpdateUser:
		return &c.By
	case *DeleteUser:
		return &c.By
	case *DeleteRealm:
		return &c.By
	}
	return nil
}

// encodable checks the limits that hold for the form of a command. All others are Apply's, which answers each with
// an error of its own.
func encodable(c Command) bool {
	switch c := c.(type) {
	case *Touch:
		return len(c.Uses) <= MaxTouches
	case *Expire:
		return len(c.Keys) <= MaxExpire
	}
	return true
}

// DecodeCommand reads a command from the front of b and returns what follows it. The command shares no memory with b.
// The error is ErrUnknownKind, also for an unknown version of a kind, or ErrBadEncoding.
func DecodeCommand(b []byte) (Command, []byte, error) {
	r := &reader{b: b}
	kind, version := r.uint(), r.uint()
	if r.bad {
		return nil, nil, fmt.Errorf("decode command: %w", ErrBadEncoding)
	}
	c := newCommand(kind)
	if c == nil || !knownForm(c, version) {
		return nil, nil, fmt.Errorf("decode command of kind %d, version %d: %w", kind, version, ErrUnknownKind)
	}
	r.form = version
	if c.readBody(r); r.bad {
		return nil, nil, fmt.Errorf("decode command of kind %d: %w", kind, ErrBadEncoding)
	}
	return c, r.b, nil
}

func newCommand(kind uint64) body {
	if kind > math.MaxUint8 {
		return nil
	}
	switch Kind(kind) {
	case KindGenesis:
		return new(Genesis)
	case KindTick:
		return new(Tick)
	case KindCreate:
		return new(Create)
	case KindPut:
		return new(Put)
	case KindDelete:
		return new(Delete)
	case KindInvalidate:
		return new(Invalidate)
	case KindTouch:
		return new(Touch)
	case KindExpire:
		return new(Expire)
	case KindEndUser:
		return new(EndUser)
	case KindSweep:
		return new(Sweep)
	case KindCreateUser:
		return new(CreateUser)
	case KindUpdateUser:
		return new(UpdateUser)
	case KindDeleteUser:
		return new(DeleteUser)
	case KindCreateRole:
		return new(CreateRole)
	case KindUpdateRole:
		return new(UpdateRole)
	case KindDeleteRole:
		return new(DeleteRole)
	case KindCreateRealm:
		return new(CreateRealm)
	case KindUpdateRealm:
		return new(UpdateRealm)
	case KindDeleteRealm:
		return new(DeleteRealm)
	case KindPutMember:
		return new(PutMember)
	case KindRemoveMember:
		return new(RemoveMember)
	case KindPace:
		return new(Pace)
	case KindHandover:
		return new(Handover)
	case KindSetLimits:
		return new(SetLimits)
	case KindEndAll:
		return new(EndAll)
	case KindSetRoles:
		return new(SetRoles)
	}
	return nil
}

// AppendResult appends the result's encoding to dst. An error travels as its code and message.
func AppendResult(dst []byte, res Result) ([]byte, error) {
	if e := res.Err; e != nil && (e.Code == "" || len(e.Code) > maxErrorCode || len(e.Message) > maxErrorMessage) {
		return dst, fmt.Errorf("encode result with error code %q: %w", e.Code, ErrBadEncoding)
	}
	dst = appendUint(dst, resultVersion)
	dst = appendArray(dst, 4)
	if res.Err == nil {
		dst = appendNil(dst)
	} else {
		dst = appendArray(dst, 2)
		dst = appendString(appendString(dst, res.Err.Code), res.Err.Message)
	}
	dst = appendUint(dst, res.Rev)
	dst = appendUint(dst, uint64(res.Ended))
	return appendBool(dst, res.More), nil
}

// DecodeResult reads a result from the front of b and returns what follows it. Its error equals, to errors.Is, the
// one that was encoded.
func DecodeResult(b []byte) (Result, []byte, error) {
	r := &reader{b: b}
	if version := r.uint(); r.bad || version != resultVersion {
		return Result{}, nil, versionError("result", version, r.bad)
	}
	var res Result
	r.fields(4)
	if !r.isNil() {
		r.fields(2)
		res.Err = &Error{Code: r.string(), Message: r.string()}
		r.expect(res.Err.Code != "" && len(res.Err.Code) <= maxErrorCode && len(res.Err.Message) <= maxErrorMessage)
	}
	res.Rev, res.Ended, res.More = r.uint(), r.uint32(), r.bool()
	if r.bad {
		return Result{}, nil, fmt.Errorf("decode result: %w", ErrBadEncoding)
	}
	return res, r.b, nil
}

func versionError(what string, version uint64, bad bool) error {
	if bad {
		return fmt.Errorf("decode %s: %w", what, ErrBadEncoding)
	}
	return fmt.Errorf("decode %s of version %d: %w", what, version, ErrUnknownKind)
}
