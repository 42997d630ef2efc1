-- A stand-in for FreeSWITCH's Lua: it is none. It has as much of `freeswitch` and `session` as the scripts in
-- dialplan/freeswitch use, on a clock that only msleep moves, and prints what became of it all.
--
--   lua5.2 stand_in.lua SCRIPT SCENARIO        SCENARIO is Lua that returns a table; see stand_in.py

local script, scenario = arg[1], dofile(arg[2])
local clock, slept, ids = scenario.clock, 0, scenario.ids or 0
local channel, globals, legs = scenario.channel, scenario.globals, scenario.legs
local state, nonce = scenario.state, nil
local printed = {}

local function hex(value) return (tostring(value):gsub(".", function(c) return string.format("%02x", c:byte()) end)) end

local function say(...)
  local words = {}
  for index, value in ipairs({ ... }) do words[index] = index == 1 and value or hex(value) end
  printed[#printed + 1] = table.concat(words, " ")
end

local function maybe_break(name)
  if scenario.broken == name then error("broken: " .. name .. " 12125550100") end
end

local apis = {}

function apis.create_uuid()
  ids = ids + 1
  return string.format("%08x-0000-4000-8000-%012x", ids, ids)
end

function apis.uuid_getvar(arguments)
  local uuid, name = arguments:match("^(%S+) (%S+)$")
  if not legs[uuid] then return "-ERR No such channel!\n" end
  return legs[uuid][name] or "_undef_"
end

function apis.uuid_setvar(arguments)
  local uuid, name, value = arguments:match("^(%S+) (%S+) ?(.*)$")
  if not legs[uuid] then return "-ERR No such channel!\n" end
  legs[uuid][name] = value ~= "" and value or nil
  say("leg", uuid, name, value)
  return "+OK\n"
end

-- Lua has no such expressions: the scenario says which questions are to be answered yes.
function apis.regex(arguments)
  say("regex", arguments)
  return scenario.matches[arguments] and "true" or "false"
end

function apis.uuid_dump()
  local lines = {}
  for name, value in pairs(channel) do lines[#lines + 1] = "variable_" .. name .. ": " .. value end
  return table.concat(lines, "\n")
end

freeswitch = {}

function freeswitch.API()
  return {
    execute = function(_, command, arguments)
      maybe_break("execute")
      return apis[command](arguments)
    end,
    getTime = function() return string.format("%d", math.floor(clock / scenario.tick) * scenario.tick) end,
  }
end

function freeswitch.getGlobalVariable(name) return globals[name] end

function freeswitch.setGlobalVariable(name, value)
  globals[name] = value
  say("global", name, value)
end

function freeswitch.consoleLog(level, message) say("log", level, message) end

function freeswitch.Event(kind, subclass)
  maybe_break("Event")
  local headers = {}
  return {
    addHeader = function(_, name, value) headers[#headers + 1] = { name, value } end,
    fire = function()
      say("event", kind, subclass)
      for _, one in ipairs(headers) do
        say("header", one[1], one[2])
        if one[1] == "Stir-Nonce" then nonce = one[2] end
      end
    end,
  }
end

function freeswitch.msleep(ms)
  slept, clock = slept + ms, clock + ms + (scenario.drift or 0)
  if slept > 60000 then error("it never ends") end
  if scenario.answer_ms and slept >= scenario.answer_ms and nonce then
    for number, part in ipairs(scenario.parts or {}) do channel["stir_answer_" .. nonce .. "_" .. number] = part end
    for number, part in ipairs(scenario.headers or {}) do
      channel["stir_identity_" .. nonce .. "_1_" .. number] = part
    end
    channel.stir_answer = (scenario.answer_nonce or nonce) .. "|" .. scenario.answer
  end
  -- what others write to the channel, each {ms, name, value}, in this order
  local writes = scenario.writes or {}
  while writes[1] and slept >= writes[1][1] do
    local one = table.remove(writes, 1)
    channel[one[2]] = one[3]
  end
  if scenario.hangup_ms and slept >= scenario.hangup_ms then state = "CS_HANGUP" end
end

session = {
  getVariable = function(_, name)
    maybe_break("getVariable")
    local value = channel[name]
    if value == nil then return globals[name] end
    return value
  end,
  setVariable = function(_, name, value)
    maybe_break("setVariable")
    if value == "" then value = nil end
    channel[name] = value
    say("set", name, value or "")
  end,
  getState = function() return state end,
  ready = function() return state == "CS_EXECUTE" end,
  execute = function(_, application, given)
    say("execute", application, given)
    local name, value = given:match("^([^=]+)=(.*)$")
    if application == "set_profile_var" then channel[name] = value end
  end,
}

if scenario.no_session then session = nil end
-- what an API call's answer is written to
stream = { write = function(_, text) say("streamed", text) end }
argv = scenario.argv
argv[0] = script
dofile(script)
for name, value in pairs(channel) do say("var", name, value) end
say("slept", slept)
io.write(table.concat(printed, "\n"), "\n")
