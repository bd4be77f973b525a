// Browser tabs as far as documents go: npm loro-crdt, the frame codec of spec 03 section 5.4, and
// edits in the manner of the official hooks. One JSON command a line in, one answer a line out.
import { createInterface } from "node:readline";
import { LoroDoc, LoroMap } from "loro-crdt";

const tabs = new Map();

function tab(name) {
  if (!tabs.has(name)) tabs.set(name, new LoroDoc());
  return tabs.get(name);
}

function decodeFrame(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entityLength = view.getUint16(1);
  const idLength = view.getUint16(3 + entityLength);
  const utf8 = new TextDecoder();
  return {
    type: bytes[0],
    entity: utf8.decode(bytes.subarray(3, 3 + entityLength)),
    rowId: utf8.decode(bytes.subarray(5 + entityLength, 5 + entityLength + idLength)),
    payload: bytes.subarray(5 + entityLength + idLength),
  };
}

function edit(doc, change) {
  const before = doc.version();
  change(doc, doc.getMap("row"));
  doc.commit();
  return Buffer.from(doc.export({ mode: "update", from: before })).toString("hex");
}

const commands = {
  frame({ name, hex }) {
    const frame = decodeFrame(new Uint8Array(Buffer.from(hex, "hex")));
    tab(name).import(frame.payload);
    return { type: frame.type, entity: frame.entity, rowId: frame.rowId };
  },
  // What the official text hook does: the root text, all of it out, all of it in.
  collab({ name, field, value }) {
    return edit(tab(name), (doc) => {
      const text = doc.getText(field);
      if (text.length > 0) text.delete(0, text.length);
      text.insert(0, value);
    });
  },
  insert: ({ name, field, at, value }) =>
    edit(tab(name), (_, row) => row.get(field).insert(at, value)),
  rootInsert: ({ name, field, at, value }) =>
    edit(tab(name), (doc) => doc.getText(field).insert(at, value)),
  set: ({ name, field, value }) => edit(tab(name), (_, row) => row.set(field, value)),
  increment: ({ name, field, value }) => edit(tab(name), (_, row) => row.get(field).increment(value)),
  pushMap: ({ name, field, value }) =>
    edit(tab(name), (_, row) => {
      const map = row.get(field).pushContainer(new LoroMap());
      for (const [key, inner] of Object.entries(value)) map.set(key, inner);
    }),
  move: ({ name, field, from, to }) => edit(tab(name), (_, row) => row.get(field).move(from, to)),
  node: ({ name, field, value }) =>
    edit(tab(name), (_, row) => {
      const node = row.get(field).createNode();
      node.data.set("title", value);
      node.createNode().data.set("title", value + " child");
    }),
  read({ name }) {
    const doc = tab(name);
    return { json: doc.toJSON(), texts: { body: doc.getText("body").toString() } };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: commands[command.do](command) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
