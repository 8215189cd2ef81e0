import { FimbriaError } from '../../base/errors.ts';

/** Writes to standard output and waits while the reader is slow, so that nothing is lost at exit. */
export async function print(text: string): Promise<void> {
  if (text === '' || process.stdout.write(text)) return;
  await new Promise<void>(resolve => process.stdout.once('drain', resolve));
}

/** JSON or YAML of a value as `-o` asks, undefined when it asks for neither. Ends with a line feed. */
export async function serialise(value: unknown, format: string): Promise<string | undefined> {
  if (format === 'json') return `${JSON.stringify(value, null, 2)}\n`;
  if (format === 'yaml') {
    const { stringify } = await import('yaml');
    return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
  }
  if (format.startsWith('jsonpath=')) {
    const { evaluate } = await import('./jsonpath.ts');
    return evaluate(format.slice('jsonpath='.length), value);
  }
  return undefined;
}

/**
 * Prints a value as JSON or YAML where `-o` is given, else the text made by `asText`.
 * @throws FimbriaError USAGE for an unknown format
 */
export async function present(
  value: unknown,
  format: string | undefined,
  asText: () => string,
): Promise<void> {
  if (format === undefined) return await print(asText());
  const text = await serialise(value, format);
  if (text === undefined) throw unknownFormat(format, ['json', 'yaml', 'jsonpath=TEMPLATE']);
  await print(text);
}

/** The usage error for a format that `-o` does not have. */
export function unknownFormat(format: string, known: string[]): FimbriaError {
  return new FimbriaError({
    code: 'USAGE',
    op: 'use',
    object: `-o ${format}`,
    why: 'there is no such format',
    hint: `use one of ${known.join(', ')}`,
  });
}
