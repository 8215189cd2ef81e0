import test from 'ava';
import { scratch, serve } from '../apiserver/helpers.ts';
import { contractSuite } from './suite.ts';

contractSuite(test, async t => {
  const { secure } = await serve(t, scratch(t));
  return secure();
});
