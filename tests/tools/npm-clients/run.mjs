// Clients from npm, as they come, against a running gateway: one JSON object of results on standard output.
// node run.mjs BASE_URL KEY PROVIDER...

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { embed, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

const [url, key, ...providers] = process.argv.slice(2);
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const aiOpenai = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const aiAnthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: key });

const words = "one two three";
const messages = [{ role: "user", content: words }];
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const counts = (input, output) => ({ input, output });

async function joined(stream, text) {
  let all = "";
  for await (const event of stream) all += text(event) ?? "";
  return all;
}

const chat = {
  answer: async (model) => {
    const got = await openai.chat.completions.create({ model, messages });
    const usage = counts(got.usage.prompt_tokens, got.usage.completion_tokens);
    return { text: got.choices[0].message.content, end: got.choices[0].finish_reason, ...usage };
  },
  stream: async (model) => {
    const stream = openai.chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
    const text = await joined(stream, (chunk) => chunk.choices[0]?.delta?.content);
    const final = await stream.finalChatCompletion();
    return { text, same: final.choices[0].message.content === text, end: final.choices[0].finish_reason };
  },
  tools: async (model) => {
    const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
    const first = await openai.chat.completions.create({ model, messages, tools });
    const said = first.choices[0].message;
    const results = said.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }));
    const second = await openai.chat.completions.create({ model, messages: [...messages, said, ...results], tools });
    const [call] = said.tool_calls;
    return {
      name: call.function.name,
      typed: typeof JSON.parse(call.function.arguments).city,
      end: first.choices[0].finish_reason,
      then: second.choices[0].finish_reason,
    };
  },
};

const responses = {
  answer: async (model) => {
    const got = await openai.responses.create({ model, input: words });
    return { text: got.output_text, end: got.status, ...counts(got.usage.input_tokens, got.usage.output_tokens) };
  },
  stream: async (model) => {
    const stream = openai.responses.stream({ model, input: words });
    const text = await joined(stream, (e) => (e.type === "response.output_text.delta" ? e.delta : ""));
    const final = await stream.finalResponse();
    return { text, same: final.output_text === text, end: final.status };
  },
  tools: async (model) => {
    const tools = [{ type: "function", name: "weather", parameters: schema, strict: false }];
    const first = await openai.responses.create({ model, input: words, tools, store: false });
    const call = first.output.find((item) => item.type === "function_call");
    const result = { type: "function_call_output", call_id: call.call_id, output: "sunny" };
    const input = [{ role: "user", content: words }, ...first.output, result];
    const second = await openai.responses.create({ model, input, tools, store: false });
    return { name: call.name, typed: typeof JSON.parse(call.arguments).city, end: first.status, then: second.status };
  },
};

const messagesApi = {
  answer: async (model) => {
    const got = await anthropic.messages.create({ model, messages, max_tokens: 99 });
    const usage = counts(got.usage.input_tokens, got.usage.output_tokens);
    return { text: got.content[0].text, end: got.stop_reason, ...usage };
  },
  stream: async (model) => {
    const stream = anthropic.messages.stream({ model, messages, max_tokens: 99 });
    let text = "";
    stream.on("text", (piece) => (text += piece));
    const final = await stream.finalMessage();
    return { text, same: final.content[0].text === text, end: final.stop_reason };
  },
  tools: async (model) => {
    const tools = [{ name: "weather", input_schema: schema }];
    const first = await anthropic.messages.create({ model, messages, max_tokens: 99, tools });
    const call = first.content.find((block) => block.type === "tool_use");
    const result = { type: "tool_result", tool_use_id: call.id, content: "sunny" };
    const turns = [{ role: "assistant", content: first.content }, { role: "user", content: [result] }];
    const second = await anthropic.messages.create({ model, messages: [...messages, ...turns], max_tokens: 99, tools });
    return { name: call.name, typed: typeof call.input.city, end: first.stop_reason, then: second.stop_reason };
  },
};

function vercel(made) {
  return {
    answer: async (model) => {
      const got = await generateText({ model: made(model), prompt: words, maxRetries: 0 });
      return { text: got.text, end: got.finishReason, ...counts(got.usage.inputTokens, got.usage.outputTokens) };
    },
    stream: async (model) => {
      const got = streamText({ model: made(model), prompt: words, maxRetries: 0 });
      const text = await joined(got.textStream, (piece) => piece);
      return { text, same: (await got.text) === text, end: await got.finishReason };
    },
    tools: async (model) => {
      const calls = [];
      const execute = async (input) => {
        calls.push(input);
        return "sunny";
      };
      const weather = tool({ description: "the weather", inputSchema: jsonSchema(schema), execute });
      const got = await generateText({
        model: made(model),
        prompt: words,
        tools: { weather },
        stopWhen: stepCountIs(3),
        maxRetries: 0,
      });
      const [first, last] = [got.steps[0], got.steps.at(-1)];
      return {
        name: first.toolCalls[0].toolName,
        typed: typeof calls[0].city,
        end: first.finishReason,
        then: last.finishReason,
      };
    },
  };
}

const clients = {
  "openai chat": chat,
  "openai responses": responses,
  "anthropic messages": messagesApi,
  "ai openai chat": vercel((model) => aiOpenai.chat(model)),
  "ai openai responses": vercel((model) => aiOpenai.responses(model)),
  "ai anthropic": vercel((model) => aiAnthropic(model)),
};

const found = {};
for (const provider of providers) {
  for (const [client, kinds] of Object.entries(clients)) {
    for (const [kind, run] of Object.entries(kinds)) {
      const model = `${provider}/${kind === "tools" ? "tools" : "echo"}`;
      try {
        found[`${provider}: ${client}: ${kind}`] = await run(model);
      } catch (error) {
        found[`${provider}: ${client}: ${kind}`] = { error: `${error?.name}: ${error?.message}`.slice(0, 500) };
      }
    }
  }
}
const embedding = await openai.embeddings.create({ model: `${providers[0]}/echo`, input: words });
const embedded = await embed({ model: aiOpenai.embedding(`${providers[0]}/echo`), value: words, maxRetries: 0 });
found.embeddings = { openai: embedding.data[0].embedding.length, ai: embedded.embedding.length };
found.tokens = (await anthropic.messages.countTokens({ model: `${providers[0]}/echo`, messages })).input_tokens;
found.models = { openai: (await openai.models.list()).data.length, anthropic: (await anthropic.models.list()).data.length };
console.log(JSON.stringify(found));
