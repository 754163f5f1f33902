// What a function is called with. The names are those of Taubyte's SDK for AssemblyScript, so that
// functions written for it build here.
import { Return } from "../return";
import * as calls from "./calls";
import { HttpEvent } from "./http";

export { HttpEvent };

export enum EventType {
  Undefined = 0,
  Http = 1,
  Pubsub = 2,
  P2P = 3,
}

// The node gives a number, not an object: there is nothing behind this reference.
@unmanaged
export class Event {
  get id(): u32 {
    return changetype<u32>(this);
  }
  type(): EventType {
    calls.getEventType(this.id, calls.number);
    return load<u32>(calls.number);
  }
  http(): Return<HttpEvent> {
    const isHttp = this.type() == EventType.Http;
    return new Return<HttpEvent>(new HttpEvent(this.id), isHttp ? "" : "not an HTTP event");
  }
  toString(): string {
    return this.id.toString();
  }
}
