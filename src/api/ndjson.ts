const LINE_FEED = '\n';

/**
 * A response body with one JSON line per event, made on demand: a slow reader slows the source down.
 * The first byte, a blank line, is sent as soon as the source is listening.
 * @param abort is aborted when the reader goes away or the source ends or fails
 */
export function ndjsonStream<T>(
  source: AsyncIterable<T>,
  abort: AbortController,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const iterator = source[Symbol.asyncIterator]();
  let pending = iterator.next();
  // Awaited only when the reader pulls; a failure before that must not count as unhandled.
  pending.catch(() => {});
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        controller.enqueue(encoder.encode(LINE_FEED));
      },
      async pull(controller) {
        try {
          const { done, value } = await pending;
          if (done === true || abort.signal.aborted) {
            abort.abort();
            controller.close();
            return;
          }
          controller.enqueue(encoder.encode(JSON.stringify(value) + LINE_FEED));
          pending = iterator.next();
          pending.catch(() => {});
        } catch (error) {
          const ended = abort.signal.aborted;
          abort.abort();
          if (ended) controller.close();
          else controller.error(error);
        }
      },
      async cancel() {
        abort.abort();
        // A generator that waits on its own signal ends by itself; return() would queue behind that wait.
        void Promise.resolve(iterator.return?.()).catch(() => {});
      },
    },
    { highWaterMark: 1 },
  );
}

/** The values of a stream of JSON lines; blank lines are skipped, an unfinished last line too. */
export async function* readNdjson<T>(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(LINE_FEED);
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield JSON.parse(line) as T;
  }
}
