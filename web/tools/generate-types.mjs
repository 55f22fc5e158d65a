// Writes src/client/schema-types.ts from Schemas/, or says with --check whether it is what they say.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const root = new URL('../../Schemas/', import.meta.url);
const target = new URL('../src/client/schema-types.ts', import.meta.url);
const wanted = /^(event|stream)\..*\.json$|^(history|problem)\.json$/;
const schemas = readdirSync(root).filter((name) => wanted.test(name)).sort()
  .map((name) => JSON.parse(readFileSync(new URL(name, root), 'utf8')));
const names = new Map(schemas.map((schema) => [schema.$id, schema.title]));

/** What stands for an event that is too large, which several schemas describe. */
let oversize;

/** The type of a value; `Row` stands for an object of which nothing more is known. */
function typeOf(schema) {
  if (schema.$ref) return names.get(schema.$ref);
  if ('const' in schema) return quote(schema.const);
  if (schema.enum) return schema.enum.map(quote).join(' | ');
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' | ');
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ type })).join(' | ');
  switch (schema.type) {
    case 'string':
    case 'boolean':
    case 'null':
      return schema.type;
    case 'integer':
    case 'number':
      return 'number';
    case 'array':
      return `ReadonlyArray<${
        schema.items.$ref || schema.items.type !== 'object'
          ? typeOf(schema.items)
          : '{ readonly id: string } & (RowEvent | PublishedEvent)'
      }>`;
    case 'object':
      if (schema.properties?.href) {
        oversize = schema;
        return 'Oversize';
      }
      return schema.properties ? membersOf(schema, '  ') : 'Row';
    case undefined:
      return 'unknown';
  }
  throw new Error(`no type for ${JSON.stringify(schema)}`);
}

const quote = (value) => `'${value}'`;

function membersOf({ properties, required = [] }, indent = '') {
  const lines = Object.entries(properties).map(([name, schema]) => {
    const comment = schema.description ? `${indent}  /** ${schema.description} */\n` : '';
    const mark = required.includes(name) ? '' : '?';
    return `${comment}${indent}  readonly ${name}${mark}: ${typeOf(schema)};`;
  });
  return lines.length ? `{\n${lines.join('\n')}\n${indent}}` : 'Record<string, never>';
}

/** Of an event of a row: which members go with which operation. */
function variantsOf(schema) {
  const conditional = new Set(['op']);
  const variants = schema.allOf.map(({ if: condition, then }) => {
    const op = condition.properties.op.const;
    const present = new Set(then.anyOf.flatMap((option) => option.required ?? []));
    const absent = then.not.anyOf.flatMap((option) => option.required)
      .filter((name) => schema.properties[name]);
    const isWhole = then.anyOf.length === 1;
    for (const name of [...present, ...absent]) conditional.add(name);
    return { op, present, absent, isWhole };
  });
  const common = Object.fromEntries(
    Object.entries(schema.properties).filter(([name]) => !conditional.has(name)),
  );
  conditional.delete('op');
  const rest = [...conditional];
  const lines = variants.map(({ op, absent }) => {
    const members = rest.map((name) => {
      const type = absent.includes(name) ? 'undefined' : typeOf(schema.properties[name]);
      return `    readonly ${name}?: ${type};`;
    });
    return `  | {\n    readonly op: '${op}';\n${members.join('\n')}\n  }`;
  });
  return `${membersOf({ properties: common, required: schema.required })} & (\n${
    lines.join('\n')
  }\n)`;
}

const parts = ['// Made by tools/generate-types.mjs from Schemas/; not to be edited.\n'];
for (const schema of schemas) {
  const isRow = schema.allOf?.every((rule) => rule.if);
  const name = schema.title + (isRow ? '<Row = Record<string, unknown>>' : '');
  const type = isRow ? variantsOf(schema) : membersOf(schema);
  parts.push(`/** ${schema.description} */\nexport type ${name} = ${type};\n`);
}
parts.push(`/** ${oversize.description} */\nexport type Oversize = ${membersOf(oversize)};\n`);
const text = parts.join('\n');
if (!process.argv.includes('--check')) writeFileSync(target, text);
else if (readFileSync(target, 'utf8') !== text) {
  console.error(
    'src/client/schema-types.ts is not what Schemas/ say: run tools/generate-types.mjs',
  );
  process.exit(1);
}
