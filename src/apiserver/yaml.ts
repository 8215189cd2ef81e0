import { Composer, type CST, Parser } from 'yaml';
import { badRequest } from './failure.ts';
import { MAX_DEPTH } from './patch/json.ts';

/**
 * Reads one YAML document from whoever sends it.
 * @throws ApiFailure 400 for what is nested too deep or has aliases, any error for what is no YAML
 */
export function parseYaml(text: string): unknown {
  const tokens = [...new Parser().parse(text)];
  checkTokens(tokens);
  const documents = [...new Composer().compose(tokens)];
  if (documents.length > 1) throw badRequest('the body of the request has more than one document');
  const [document] = documents;
  if (document?.errors[0]) throw document.errors[0];
  return document?.toJS();
}

/**
 * What the composer must not meet: it recurses, and a stack that overflows within V8's compiler of regular expressions
 * ends the process; and a few lines of aliases stand for gigabytes, or for an object that holds itself.
 */
function checkTokens(tokens: readonly CST.Token[]): void {
  let level: readonly CST.Token[] = tokens;
  for (let depth = 0; level.length > 0; depth++) {
    // A document is a level of its own.
    if (depth > MAX_DEPTH + 1)
      throw badRequest(`the body of the request is nested deeper than ${MAX_DEPTH} levels`);
    if (level.some(token => token.type === 'alias')) throw badRequest('the body of the request has aliases');
    level = level.flatMap(childrenOf);
  }
}

function childrenOf(token: CST.Token): CST.Token[] {
  const children: CST.Token[] = [];
  if (token.type === 'document' && token.value) children.push(token.value);
  if ('items' in token) {
    for (const { key, value } of token.items) {
      if (key) children.push(key);
      if (value) children.push(value);
    }
  }
  return children;
}
