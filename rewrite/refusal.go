package rewrite

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// Refusal is the payload of the answer that refuses a request with an error code,
// as a broker's own refusal looks like: for the whole, or for every item that was
// asked for. body is the request behind its header. An error says that there is no
// such answer.
func Refusal(key, version int16, body []byte, code int16) ([]byte, error) {
	resp := kmsg.ResponseForKey(key)
	if resp == nil || version < 0 || version > resp.MaxVersion() {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(key), version, errNoRefusal)
	}
	resp.SetVersion(version)
	if key == kmsg.AlterUserSCRAMCredentials.Int16() {
		if err := refuseScram(resp.(*kmsg.AlterUserSCRAMCredentialsResponse), body, code); err != nil {
			return nil, err
		}
	} else if !setError(reflect.ValueOf(resp).Elem(), code) {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(key), version, errNoRefusal)
	}
	var payload []byte
	if resp.IsFlexible() && key != kmsg.ApiVersions.Int16() {
		payload = append(payload, 0)
	}
	return resp.AppendTo(payload), nil
}

var errNoRefusal = errors.New("it has no answer that refuses it")

// setError sets the error of a response, or of one item in it; false: it has none.
func setError(v reflect.Value, code int16) bool {
	field := v.FieldByName("ErrorCode")
	if !field.IsValid() || field.Kind() != reflect.Int16 {
		return false
	}
	field.SetInt(int64(code))
	if message := v.FieldByName("ErrorMessage"); message.IsValid() && message.Kind() == reflect.Pointer {
		text := kerr.TypedErrorForCode(code).Description
		message.Set(reflect.ValueOf(&text))
	}
	return true
}

// refuseScram answers for every user that was named. The request is read by hand:
// kmsg takes counts on trust.
func refuseScram(resp *kmsg.AlterUserSCRAMCredentialsResponse, body []byte, code int16) error {
	r := wire.NewReader(body)
	for deletions := r.ArrayLen(true); deletions > 0 && r.Err() == nil; deletions-- {
		refuseUser(resp, r.String(true), code)
		r.Int8()
		r.SkipTags()
	}
	for upsertions := r.ArrayLen(true); upsertions > 0 && r.Err() == nil; upsertions-- {
		refuseUser(resp, r.String(true), code)
		r.Int8()
		r.Int32()
		r.Bytes(true)
		r.Bytes(true)
		r.SkipTags()
	}
	return r.Err()
}

func refuseUser(resp *kmsg.AlterUserSCRAMCredentialsResponse, user []byte, code int16) {
	result := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
	result.User = string(user)
	setError(reflect.ValueOf(&result).Elem(), code)
	resp.Results = append(resp.Results, result)
}
