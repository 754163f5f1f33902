// The functions of the node that this SDK calls, as sdk/abi declares them: addresses are `usize`, an
// error is 0 or a code of src/guest/errors.h.

// @ts-ignore: decorator
@external("taubyte/sdk", "getEventType")
export declare function getEventType(event: u32, type: usize): void;

// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventMethodSize")
export declare function getHttpEventMethodSize(event: u32, size: usize): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventMethod")
export declare function getHttpEventMethod(event: u32, method: usize, size: u32): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventPathSize")
export declare function getHttpEventPathSize(event: u32, size: usize): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventPath")
export declare function getHttpEventPath(event: u32, path: usize, size: u32): u32;

// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventQueryValueByNameSize")
export declare function getHttpEventQueryValueByNameSize(
  event: u32, size: usize, key: usize, keySize: u32): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventQueryValueByName")
export declare function getHttpEventQueryValueByName(
  event: u32, key: usize, keySize: u32, value: usize, size: u32): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventHeadersSize")
export declare function getHttpEventHeadersSize(
  event: u32, size: usize, key: usize, keySize: u32): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "getHttpEventHeaders")
export declare function getHttpEventHeaders(
  event: u32, key: usize, keySize: u32, value: usize, size: u32): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "readHttpEventBody")
export declare function readHttpEventBody(
  event: u32, body: usize, size: u32, count: usize): u32;

// @ts-ignore: decorator
@external("taubyte/sdk", "eventHttpHeaderAdd")
export declare function eventHttpHeaderAdd(
  event: u32, name: usize, nameSize: u32, value: usize, valueSize: u32): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "eventHttpRetCode")
export declare function eventHttpRetCode(event: u32, code: u32): u32;
// @ts-ignore: decorator
@external("taubyte/sdk", "eventHttpWrite")
export declare function eventHttpWrite(
  event: u32, body: usize, size: u32, written: usize): u32;

// Where the node writes a number for us.
export const number: usize = memory.data(8);
