// The API's own description (OpenAPI 3.1), as far as the explorer reads it.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  enum?: unknown[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
}

export interface Parameter {
  name: string;
  in: "path" | "query" | "header" | "cookie";
  required?: boolean;
  description?: string;
  schema?: Schema;
}

interface Content {
  [type: string]: { schema?: Schema };
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  tag: string;
  summary: string;
  description?: string;
  deprecated: boolean;
  /** Whether a key or a session is needed. */
  closed: boolean;
  parameters: Parameter[];
  body?: { type: string; schema?: Schema; required: boolean };
  responses: { status: string; description: string; type?: string; schema?: Schema }[];
}

export interface Description {
  version: string;
  tags: { name: string; description?: string }[];
  operations: Operation[];
  schemas: Record<string, Schema>;
}

interface RawOperation {
  operationId?: string;
  summary?: string;
  description?: string;
  deprecated?: boolean;
  tags?: string[];
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content?: Content };
  responses?: Record<string, { description?: string; content?: Content }>;
}

interface Raw {
  info: { version: string };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Record<string, RawOperation>>;
  components?: { schemas?: Record<string, Schema> };
}

const METHODS = ["get", "post", "put", "patch", "delete"];

export function read(raw: Raw): Description {
  const operations = Object.entries(raw.paths).flatMap(([path, item]) =>
    METHODS.flatMap((method): Operation[] => {
      const operation = item[method];
      if (!operation) return [];
      const bodies = Object.entries(operation.requestBody?.content ?? {});
      const body = bodies.find(([type]) => type.includes("json")) ?? bodies[0];
      return [
        {
          id: operation.operationId ?? `${method} ${path}`,
          method: method.toUpperCase(),
          path,
          tag: operation.tags?.[0] ?? "Other",
          summary: operation.summary ?? path,
          description: operation.description,
          deprecated: operation.deprecated ?? false,
          closed: (operation.security?.length ?? 0) > 0,
          parameters: operation.parameters ?? [],
          body: body && { type: body[0], schema: body[1].schema, required: operation.requestBody?.required ?? false },
          responses: Object.entries(operation.responses ?? {}).map(([status, response]) => {
            const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
            return { status, description: response.description ?? "", type, schema: content?.schema };
          }),
        },
      ];
    }),
  );
  return { version: raw.info.version, tags: raw.tags ?? [], operations, schemas: raw.components?.schemas ?? {} };
}

/** What a reference stands for, and its name. */
export function resolve(schema: Schema | undefined, schemas: Description["schemas"]): { name?: string; schema: Schema } {
  const name = schema?.$ref?.split("/").at(-1);
  return name ? { name, schema: schemas[name] ?? {} } : { schema: schema ?? {} };
}

/** Alternatives without "or null", which `typeName` says. */
function alternatives(schema: Schema): Schema[] {
  return (schema.oneOf ?? schema.anyOf ?? []).filter((each) => each.type !== "null");
}

/** "integer (int64)", "Rule[]", "string or null": the type in words; of an enumeration, its values. */
export function typeName(schema: Schema | undefined, schemas: Description["schemas"] = {}): string {
  if (!schema) return "any";
  const named = (each?: Schema) => typeName(each, schemas);
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1)!;
    return schemas[name]?.enum ? named(schemas[name]) : name;
  }
  const options = schema.oneOf ?? schema.anyOf;
  if (options) return options.map(named).join(" or ");
  if (schema.allOf) return schema.allOf.map(named).join(" and ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  const types = Array.isArray(schema.type) ? schema.type : [schema.type ?? "any"];
  return types
    .map((type) => {
      if (type === "array") return `${named(schema.items)}[]`;
      if (type === "object" && typeof schema.additionalProperties === "object") return `map of ${named(schema.additionalProperties)}`;
      return schema.format && type !== "null" ? `${type} (${schema.format})` : type;
    })
    .join(" or ");
}

/** The object that a schema describes at its heart, for a table of its fields. */
export function fieldsOf(schema: Schema | undefined, schemas: Description["schemas"]): { name?: string; fields: [string, Schema, boolean][] } {
  const found = resolve(schema, schemas);
  const inner = found.schema;
  if (inner.items) return fieldsOf(inner.items, schemas);
  const options = alternatives(inner);
  if (options.length === 1) return fieldsOf(options[0], schemas);
  const parts = inner.allOf ?? [inner];
  const fields = parts.flatMap((part) => {
    const { schema: each } = resolve(part, schemas);
    return Object.entries(each.properties ?? {}).map(([name, field]): [string, Schema, boolean] => [name, field, each.required?.includes(name) ?? false]);
  });
  return { name: found.name, fields };
}

/** A body to start from: the required fields, or all where none is. */
export function example(schema: Schema | undefined, schemas: Description["schemas"], depth = 0): unknown {
  const { schema: found } = resolve(schema, schemas);
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  const options = alternatives(found);
  if (options.length > 0) return example(options[0], schemas, depth + 1);
  const type = Array.isArray(found.type) ? found.type.find((each) => each !== "null") : found.type;
  if (type === "array") return depth > 3 ? [] : [example(found.items, schemas, depth + 1)];
  if (type === "integer" || type === "number") return found.minimum ?? 0;
  if (type === "boolean") return false;
  if (type === "string") return "";
  const { fields } = fieldsOf(found, schemas);
  const wanted = fields.some(([, , required]) => required) ? fields.filter(([, , required]) => required) : fields;
  return depth > 3 ? {} : Object.fromEntries(wanted.map(([name, field]) => [name, example(field, schemas, depth + 1)]));
}
