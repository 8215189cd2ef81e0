import { type NativeRingBuffer, native } from '../addon.ts';
import type { BpfMap } from './map.ts';

/**
 * Consumer of a BPF_MAP_TYPE_RINGBUF on the event loop of the thread that made it; one consumer per map at
 * a time. It keeps the process alive until `unref()` or `close()`. What `onSample` throws becomes an
 * uncaught exception; the samples behind it are delivered later.
 */
export class RingBuffer {
  readonly #native: NativeRingBuffer;

  /**
   * @param options.onSample gets a copy of each sample, in order
   * @param options.batch samples per turn of the event loop, so that a flood does not starve it; 256 when absent
   */
  constructor(options: { map: BpfMap; onSample(data: Buffer): void; batch?: number }) {
    this.#native = native().ringBufferOpen(options.map.handle, options.batch ?? 256, data =>
      options.onSample(data),
    );
  }

  /** Delivers what waits, at once, without regard to `batch`; returns how many. Not from inside `onSample`. */
  poll(): number {
    return this.#native.poll();
  }

  /** Lets the process end while this is open. */
  unref(): this {
    this.#native.unref();
    return this;
  }

  ref(): this {
    this.#native.ref();
    return this;
  }

  /** Stops. Allowed inside `onSample`: no sample comes after it. A second call does nothing. */
  close(): void {
    this.#native.close();
  }
}
