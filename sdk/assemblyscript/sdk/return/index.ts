// A value, or why there is none: `err` is empty when there is one.
export class Return<T> {
  constructor(private value: T, public err: string = "") {}

  // The value; traps with the error when there is one.
  unwrap(): T {
    if (this.err.length > 0) throw new Error(this.err);
    return this.value;
  }
}
