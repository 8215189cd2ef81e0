import { SourceFile } from './abi.gen.ts';

/** `SOURCE_LXC_C` is `lxc.c`: the enum's names are the files' own. */
const names = new Map<number, string>(
  Object.entries(SourceFile).map(([key, number]) => [
    number,
    key.replace(/^SOURCE_(\w+)_([CH])$/, (_, stem: string, kind: string) => `${stem}.${kind}`.toLowerCase()),
  ]),
);

/** Name of a file below `bpf/` or `bpf/lib/`; `unknown(7)` for a number of a later version. */
export function sourceFileName(number: number): string {
  return names.get(number) ?? `unknown(${number})`;
}
