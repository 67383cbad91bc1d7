// Another client than ours: sends two commands and reads the notice that follows from a durable of its own.
// Arguments: the folder of the npm packages, the server's address, credentials of a subscriber and of a member,
// the id of an organisation.
// Prints {subscribed, registered, heard} as JSON: two replies, and what was delivered.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, server, subscribersCreds, membersCreds, organisation] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/`));
const { connect, credsAuthenticator, headers } = require("@nats-io/transport-node");
const { jetstream, jetstreamManager, AckPolicy } = require("@nats-io/jetstream");

const WITHIN = 20_000; // milliseconds

function principalOf(creds) {
  const claims = creds.match(/BEGIN NATS USER JWT-+\s+[^.\s]+\.([^.\s]+)\./)[1];
  return JSON.parse(Buffer.from(claims, "base64url")).name;
}

async function enter(file) {
  const creds = readFileSync(file, "utf8");
  const name = principalOf(creds);
  const authenticator = credsAuthenticator(new TextEncoder().encode(creds));
  return { name, nc: await connect({ servers: server, authenticator, name, inboxPrefix: `_INBOX.${name}` }) };
}

async function send({ name, nc }, service, command, data) {
  const event = {
    specversion: "1.0",
    id: randomUUID(),
    source: `/${name}`,
    type: `concord.${service}.${command}.v1`,
    data,
  };
  const written = headers();
  written.set("content-type", "application/cloudevents+json");
  const subject = `${service}.v1.command.${command}.${name}`;
  const reply = await nc.request(subject, JSON.stringify(event), { headers: written, timeout: WITHIN });
  return reply.json();
}

const [subscriber, member] = await Promise.all([subscribersCreds, membersCreds].map(enter));
const { name } = subscriber;
const manager = await jetstreamManager(subscriber.nc);
await manager.consumers.add("DELIVERIES", {
  name,
  durable_name: name,
  ack_policy: AckPolicy.Explicit,
  filter_subject: `notifications.v1.delivery.${name}.>`,
});
const subscribed = await send(subscriber, "notifications", "subscribe", { topic: "membership" });
const network = { name: "Leeds staff network", reach: "local", organisation };
const registered = await send(member, "membership", "register-network", network);
const consumer = await jetstream(subscriber.nc).consumers.get("DELIVERIES", name);
const message = await consumer.next({ expires: WITHIN });
if (message === null) throw new Error(`no notice came: ${JSON.stringify([subscribed, registered])}`);
await message.ackAck();
const heard = { subject: message.subject, contentType: message.headers.get("content-type"), message: message.json() };
console.log(JSON.stringify({ subscribed, registered, heard }));
await Promise.all([subscriber.nc.close(), member.nc.close()]);
