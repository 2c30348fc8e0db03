// Says something and prints what becomes of it. Arguments: where pods are, and JSON: `{options, text, say, stopAfter}`.
const { Chatmesh } = await import(`${process.env.CLIENT}/client.js`);
const [base, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const tell = (line) => console.log(JSON.stringify(line));

try {
  const session = new Chatmesh({ base, ...settings.options }).session("s");
  const answer = await session.send(settings.text, settings.say);
  tell({ messageId: answer.messageId });
  let updates = 0;
  for await (const { text, isFinal, isVerified } of answer) {
    updates += 1;
    if (updates === settings.stopAfter) await answer.stop();
    if (isFinal) tell({ text, isVerified, updates, finishReason: answer.finishReason });
  }
} catch (error) {
  tell({ name: error.name, status: error.status, code: error.code, message: error.message });
}
