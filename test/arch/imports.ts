import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** One import of a module by another, however it is written. */
export interface Import {
  /** The importing file, relative to `src/`: `agent/main.ts`. */
  from: string;
  /** The line it stands on, from 1. */
  line: number;
  /** A file of ours relative to `src/`, or a package as written; undefined when it is computed at run time. */
  to: string | undefined;
  /** Whether `to` is a file of ours. */
  ours: boolean;
  kind: 'static' | 'type' | 'dynamic';
}

/** All TypeScript files below `src/`, relative to it, sorted. */
export function sourceFiles(): string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .sort();
}

function typeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  const clause = node.importClause;
  if (!clause) return false;
  if (clause.isTypeOnly) return true;
  const named = clause.namedBindings;
  return (
    !clause.name &&
    named !== undefined &&
    ts.isNamedImports(named) &&
    named.elements.length > 0 &&
    named.elements.every(e => e.isTypeOnly)
  );
}

/** What `source` imports: declarations, re-exports, `import()` as an expression and as a type. */
export function importsOf(from: string, source: string): Import[] {
  const file = ts.createSourceFile(from, source, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const note = (node: ts.Node, specifier: ts.Node | undefined, kind: Import['kind']): void => {
    const text = specifier && ts.isStringLiteralLike(specifier) ? specifier.text : undefined;
    const ours = text?.startsWith('.') ?? false;
    const to = ours ? relative('.', posix.join(dirname(from), text as string)) : text;
    found.push({ from, line: file.getLineAndCharacterOfPosition(node.getStart()).line + 1, to, ours, kind });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || (ts.isExportDeclaration(node) && node.moduleSpecifier)) {
      note(node, node.moduleSpecifier, typeOnly(node) ? 'type' : 'static');
    } else if (ts.isImportTypeNode(node)) {
      note(node, ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, 'type');
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      note(node, node.arguments[0], 'dynamic');
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** Every import below `src/`. */
export function allImports(): Import[] {
  return sourceFiles().flatMap(name => importsOf(name, readFileSync(join(root, 'src', name), 'utf8')));
}
