// Writes dist/openapi.json and dist/asyncapi.json: Schemas/documents/ with the schemas that they name by urn
// taken in, so that each document stands alone.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const root = new URL('../../Schemas/', import.meta.url);
const read = (url) => JSON.parse(readFileSync(url, 'utf8'));
const schemas = new Map(
  readdirSync(root).filter((name) => name.endsWith('.json'))
    .map((name) => read(new URL(name, root))).map((schema) => [schema.$id, schema]),
);

for (const name of ['openapi.json', 'asyncapi.json']) {
  const document = read(new URL(`documents/${name}`, root));
  const taken = {};
  const take = (value) => {
    if (Array.isArray(value)) return value.map(take);
    if (value === null || typeof value !== 'object') return value;
    if (schemas.has(value.$ref)) {
      const schema = { ...schemas.get(value.$ref) };
      delete schema.$id;
      delete schema.$schema;
      if (!(schema.title in taken)) {
        taken[schema.title] = undefined;
        taken[schema.title] = take(schema);
      }
      return { $ref: `#/components/schemas/${schema.title}` };
    }
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, take(inner)]));
  };
  const whole = take(document);
  whole.components.schemas = taken;
  writeFileSync(new URL(`../dist/${name}`, import.meta.url), JSON.stringify(whole));
}
