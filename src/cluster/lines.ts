const NEWLINE = 10;

/** No object of Kubernetes is that long: etcd takes 1.5 MB, an API server 3 MB. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

/** Splits bytes into lines without their ends. Rejects when the bytes end inside a line, and when a line has no end. */
export async function* splitLines(
  bytes: AsyncIterable<Buffer>,
  maxLineBytes = MAX_LINE_BYTES,
): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of bytes) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      parts.push(chunk.subarray(start, end));
      start = end + 1;
      const line = Buffer.concat(parts).toString('utf8');
      parts = [];
      length = 0;
      if (line !== '') yield line;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > maxLineBytes) throw new Error(`the stream has a line of more than ${maxLineBytes} bytes`);
  }
  if (parts.length > 0) throw new Error('the stream ended inside a line');
}
