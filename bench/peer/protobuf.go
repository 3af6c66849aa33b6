package peer

import (
	"encoding/binary"
	"errors"
)

// The few messages of etcd's API that are needed, by their field numbers (etcdserverpb/rpc.proto, mvccpb/kv.proto).
// None of these fields has changed since etcd 3.0.

// rangeRequest asks for one key: key = 1, serializable = 7.
func rangeRequest(dst, key []byte, serializable bool) []byte {
	dst = appendBytes(dst, 1, key)
	if serializable {
		dst = append(dst, 7<<3, 1)
	}
	return dst
}

// putRequest stores one value: key = 1, value = 2.
func putRequest(dst, key, value []byte) []byte {
	return appendBytes(appendBytes(dst, 1, key), 2, value)
}

// appendTxnPut adds one put to a transaction without conditions: TxnRequest.success = 2, RequestOp.request_put = 2.
func appendTxnPut(dst, key, value []byte) []byte {
	return appendBytes(dst, 2, appendBytes(nil, 2, putRequest(nil, key, value)))
}

func appendBytes(dst []byte, field byte, b []byte) []byte {
	dst = append(dst, field<<3|2)
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

var errProtobuf = errors.New("malformed protobuf")

// eachField calls visit for each field of a message: number is set for varints, b for bytes.
func eachField(message []byte, visit func(field uint64, number uint64, b []byte)) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errProtobuf
		}
		message = message[n:]
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return errProtobuf
		}
		message = message[n:]
		switch tag & 7 {
		case 0:
			visit(tag>>3, value, nil)
		case 2:
			if value > uint64(len(message)) {
				return errProtobuf
			}
			visit(tag>>3, 0, message[:value])
			message = message[value:]
		default:
			return errProtobuf
		}
	}
	return nil
}

// rangeValue returns the value of the one key of a RangeResponse: kvs = 2, KeyValue.value = 5; nil: no such key.
func rangeValue(message []byte) ([]byte, error) {
	var kv, value []byte
	if err := eachField(message, func(field, _ uint64, b []byte) {
		if field == 2 {
			kv = b
		}
	}); err != nil {
		return nil, err
	}
	err := eachField(kv, func(field, _ uint64, b []byte) {
		if field == 5 {
			value = b
		}
	})
	return value, err
}

// statusLeader reads a StatusResponse: is the member that sent it the leader, and is there one? header = 1,
// ResponseHeader.member_id = 2, leader = 4.
func statusLeader(message []byte) (self, any bool, err error) {
	var header []byte
	var leader, member uint64
	if err := eachField(message, func(field, number uint64, b []byte) {
		switch field {
		case 1:
			header = b
		case 4:
			leader = number
		}
	}); err != nil {
		return false, false, err
	}
	err = eachField(header, func(field, number uint64, _ []byte) {
		if field == 2 {
			member = number
		}
	})
	return leader != 0 && leader == member, leader != 0, err
}
