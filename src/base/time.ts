/** A time as objects carry it: RFC 3339 in UTC, whole seconds. A number is milliseconds since 1970; now unless given. */
export function timestamp(when: Date | number = new Date()): string {
  return new Date(when).toISOString().replace(/\.\d+Z$/, 'Z');
}
