// chatmesh from a browser (or Node): say something, read the answer as it comes, come back to it, stop it.
//
//   import { Chatmesh } from "/client.js";
//   const session = new Chatmesh().session("tour");
//   for await (const text of await session.send("one two three")) console.log(text);
//
// No dependencies. Types stand in client.d.ts.

export { Answer } from "./client/answer.js";
export { ChatmeshError } from "./client/caller.js";
export { Chatmesh, Session, randomId } from "./client/session.js";
export { Stream } from "./client/stream.js";
