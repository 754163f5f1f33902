import { Return } from "../return";
import * as calls from "./calls";

const kEndOfBody: u32 = 8;
const kReadBytes: u32 = 16384;

function address(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}
function text(bytes: ArrayBuffer): Return<string> {
  return new Return<string>(String.UTF8.decode(bytes));
}
function textFailed(what: string, code: u32): Return<string> {
  return new Return<string>("", `${what}: error ${code}`);
}

// A request, and the answer to it. A header or a status counts until the first byte was written.
export class HttpEvent {
  constructor(private id: u32) {}

  method(): Return<string> {
    let code = calls.getHttpEventMethodSize(this.id, calls.number);
    if (code != 0) return textFailed("method", code);
    const out = new ArrayBuffer(load<u32>(calls.number));
    code = calls.getHttpEventMethod(this.id, address(out), out.byteLength);
    return code != 0 ? textFailed("method", code) : text(out);
  }

  // Percent-decoded, without the query.
  path(): Return<string> {
    let code = calls.getHttpEventPathSize(this.id, calls.number);
    if (code != 0) return textFailed("path", code);
    const out = new ArrayBuffer(load<u32>(calls.number));
    code = calls.getHttpEventPath(this.id, address(out), out.byteLength);
    return code != 0 ? textFailed("path", code) : text(out);
  }

  // The first value of a query key; empty when there is none.
  query(key: string): Return<string> {
    const k = String.UTF8.encode(key);
    let code = calls.getHttpEventQueryValueByNameSize(
      this.id, calls.number, address(k), k.byteLength);
    if (code != 0) return textFailed("query", code);
    const out = new ArrayBuffer(load<u32>(calls.number));
    code = calls.getHttpEventQueryValueByName(
      this.id, address(k), k.byteLength, address(out), out.byteLength);
    return code != 0 ? textFailed("query", code) : text(out);
  }

  // The first value of a request header, its name in any case; empty when there is none.
  header(name: string): Return<string> {
    const k = String.UTF8.encode(name);
    let code = calls.getHttpEventHeadersSize(this.id, calls.number, address(k), k.byteLength);
    if (code != 0) return textFailed("header", code);
    const out = new ArrayBuffer(load<u32>(calls.number));
    code = calls.getHttpEventHeaders(
      this.id, address(k), k.byteLength, address(out), out.byteLength);
    return code != 0 ? textFailed("header", code) : text(out);
  }

  // The whole body of the request, as text.
  body(): Return<string> {
    let all = new Uint8Array(0);
    const part = new ArrayBuffer(kReadBytes);
    let code: u32 = 0;
    while (code != kEndOfBody) {
      code = calls.readHttpEventBody(this.id, address(part), kReadBytes, calls.number);
      if (code != 0 && code != kEndOfBody) return textFailed("body", code);
      const count = load<u32>(calls.number);
      const longer = new Uint8Array(all.length + count);
      longer.set(all);
      memory.copy(longer.dataStart + all.length, address(part), count);
      all = longer;
    }
    return text(all.buffer);
  }

  setHeader(name: string, value: string): Return<bool> {
    const n = String.UTF8.encode(name);
    const v = String.UTF8.encode(value);
    const code = calls.eventHttpHeaderAdd(
      this.id, address(n), n.byteLength, address(v), v.byteLength);
    return new Return<bool>(code == 0, code != 0 ? `setHeader: error ${code}` : "");
  }

  status(value: u32): Return<bool> {
    const code = calls.eventHttpRetCode(this.id, value);
    return new Return<bool>(code == 0, code != 0 ? `status: error ${code}` : "");
  }

  // Gives how many bytes were written.
  write(value: string): Return<number> {
    const bytes = String.UTF8.encode(value);
    const code = calls.eventHttpWrite(this.id, address(bytes), bytes.byteLength, calls.number);
    return new Return<number>(load<u32>(calls.number), code != 0 ? `write: error ${code}` : "");
  }
}
