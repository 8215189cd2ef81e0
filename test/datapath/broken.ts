/** A copy of an object file whose programs begin with an instruction that no verifier accepts. */
export function withBadInstruction(object: Buffer): Buffer {
  const copy = Buffer.from(object);
  const sections = Number(copy.readBigUInt64LE(0x28));
  const [size, count] = [copy.readUInt16LE(0x3a), copy.readUInt16LE(0x3c)];
  const EXECUTABLE = 0x4n;
  for (let i = 0; i < count; i++) {
    const at = sections + i * size;
    const length = copy.readBigUInt64LE(at + 0x20);
    if ((copy.readBigUInt64LE(at + 8) & EXECUTABLE) === 0n || length === 0n) continue;
    copy[Number(copy.readBigUInt64LE(at + 0x18))] = 0xff;
  }
  return copy;
}
