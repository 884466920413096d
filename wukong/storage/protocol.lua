-- The arrive protocol: every step of a run's control state that must be atomic, in one script.
--
-- A call names one operation in ARGV[1]. All keys of a run share the hash tag {run}, so that a
-- call stays on one node of a cluster. s is a lineage (the segment an Executor started with),
-- d the segment whose output arrives, c a child of d.
--
--   KEYS[1]  st     string   R running, C cancelled, E failed, D done; checked before anything else
--   KEYS[2]  done   bitmap   bit d: the output of segment d is official
--   KEYS[3]  cnt    u32[]    inputs of segment c that have arrived
--   KEYS[4]  claim  u32[]    lineage + 1 that owns segment c, 0 while it is free
--   KEYS[5]  refs   i32[]    consumers of segment d that have not arrived yet; at 0 it is deletable
--   KEYS[6]  lease  zset     lineage -> time (ms) until which it is taken for alive; member '-' stays
--   KEYS[7]  ep     hash     lineage -> 'epoch:P' handed off, '1:P<lineage>' by whom if by an Executor |
--                            'epoch:R<token>' running | 'F' finished
--   KEYS[8]  ver    hash     segment -> 'lineage.epoch.token' of its official data
--   KEYS[9]  news   stream   what the client waits for: root <segment> | end <state>
--   KEYS[10] cfg    hash     ttl, handoff (ms), keep (s), live (the most lineages alive at once, 0
--                            no limit), begun (how often a lineage has begun)
--   KEYS[11] spec   hash     segment -> its specification, opaque here
--   KEYS[12] inp    hash     segment -> its inputs, decimal, separated by blanks
--   KEYS[13] err    string   the first failure of the run, opaque here
--   KEYS[14] left   hash     segment -> the next page of its wide arrival; '<segment>:rest' -> all
--                            that comes after the first page, opaque here, for a re-drive
--
-- Invariants. done[d] is set once, together with the counters of all children of d, so a repeated
-- arrive counts nothing twice. What concerns many segments comes in pages, each a call of its own so
-- that nobody waits for long: done[d] is set with the first, and left[d] counts the others, so that
-- each counts once as well. Claims belong to a lineage, not to a process, so a repeated call or
-- a re-driven lineage is given the same children again. Whoever is not of the current epoch of its
-- lineage is answered FENCED and must stop.

local st, done, cnt, claim, refs, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ep, ver, news, cfg, spec, inp, err, left =
  KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]

local INLINE_BYTES, INLINE_INPUTS = 4096, 16  -- storage/terms.py says the same
local LONG_INPUTS = 600  -- bytes: of so many inputs the Executor asks for the versions itself
local TOLD_INPUTS, TOLD_VALUES = 4000, 128  -- bytes and values: the most in one reply
local SLICE = 1000  -- arguments: a Lua call takes some thousand at most

local function get(key, kind, i) return redis.call('BITFIELD', key, 'GET', kind, '#' .. i)[1] end
local function set(key, kind, i, v) redis.call('BITFIELD', key, 'SET', kind, '#' .. i, v) end
local function add(key, kind, i, v)
  return redis.call('BITFIELD', key, 'INCRBY', kind, '#' .. i, v)[1]
end

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function config(name) return tonumber(redis.call('HGET', cfg, name)) end

-- The key of an output's data; it has the same tag.
local function data(x, version) return string.sub(st, 1, -3) .. 'd' .. x .. '.' .. version end

-- The data of an output if it is small, so that it need not be fetched.
local function small(x, version)
  local key = data(x, version)
  -- Of a huge output, which is no string, the length is an error.
  local size = tonumber(redis.pcall('STRLEN', key)) or 0
  if size > 0 and size <= INLINE_BYTES then return redis.call('GET', key) end
  return false
end

-- Fields of a hash by name, in few calls: each costs more than what it does.
local function fields(key, names)
  local found = {}
  for first = 1, #names, SLICE do
    local last = math.min(first + SLICE - 1, #names)
    local some = redis.call('HMGET', key, unpack(names, first, last))
    for i = 1, #some do found[first + i - 1] = some[i] end
  end
  return found
end

-- The inputs of segments as they are written, and of those that are to be told, in order, what they
-- are called: very many of one segment are not, nor those of the last of many segments.
local function read_inputs(segments)
  local written, names, told = fields(inp, segments), {}, 0
  local is_long = {}
  for i = 1, #segments do
    local text = written[i] or ''
    is_long[i] = #text > LONG_INPUTS or told + #text > TOLD_INPUTS
    if not is_long[i] then
      told = told + #text
      for x in string.gmatch(text, '%d+') do names[#names + 1] = x end
    end
  end
  return written, is_long, names
end

-- What an Executor needs to run segments: {segment, specification, {input, version, data, ...}}...
-- The data of `held`, which it has just made, and that of many inputs is left out; very many inputs
-- are given as they are written. With `whole`, only segments whose inputs all have data, as far as
-- they are told: what an earlier attempt held has none yet.
local function claimed(segments, held, whole)
  if #segments == 0 then return {} end
  local written, is_long, names = read_inputs(segments)
  local specs, versions = fields(spec, segments), fields(ver, names)
  local claims, values, left, at = {}, {}, TOLD_VALUES, 0
  for i, c in ipairs(segments) do
    local inputs, n, has_all = {}, 0, true
    for x in string.gmatch(is_long[i] and '' or written[i] or '', '%d+') do
      at = at + 1
      local version = versions[at] or ''
      if version == '' then has_all = false end
      if x ~= held and n < 3 * INLINE_INPUTS and values[x] == nil and left > 0 then
        values[x] = small(x, version)
        left = left - 1
      end
      inputs[n + 1], inputs[n + 2], inputs[n + 3] = tonumber(x), version, false
      if n < 3 * INLINE_INPUTS then inputs[n + 3] = values[x] or false end
      n = n + 3
    end
    if has_all or not whole then
      claims[#claims + 1] = {c, specs[i] or '', is_long[i] and written[i] or inputs}
    end
  end
  return claims
end

-- An attempt is what begin has written into ep, 'epoch:R<token>': with the token, as a store that has
-- lost its last writes gives epochs again that somebody still works in.
local function current(s, attempt) return redis.call('HGET', ep, s) == attempt end

local function extend(s) redis.call('ZADD', lease, now() + config('ttl'), s) end

local function finish(s)
  redis.call('ZREM', lease, s)
  redis.call('HSET', ep, s, 'F')
end

-- Whether a lineage's arrival before this call is still known; after a loss of the last writes it may
-- not be, and what its Executor believes to have done is then to be done again.
local function is_known(after) return after == '' or redis.call('GETBIT', done, after) == 1 end

-- Notes an input that nobody reads any more; one that was held has no data.
local function note_deletable(deletable, x)
  if get(refs, 'i32', x) ~= 0 then return end
  local made = redis.call('HGET', ver, x)
  if not made then return end
  deletable[#deletable + 1] = tonumber(x)
  deletable[#deletable + 1] = made
end

-- Arguments stay in ARGV, as a wide fan-in has more of them than a Lua call can take.
local function lineage() return tonumber(ARGV[2]), ARGV[3] end

-- What was held for an arrival becomes official with it: '<segment>:<input>,<input>;...'. It has no
-- data and no version. Adds to `deletable` as `counted` does.
local function settle(held, deletable)
  for d, inputs in string.gmatch(held, '(%d+):([%d,]*);') do
    local new = redis.call('SETBIT', done, d, 1) == 0
    for x in string.gmatch(inputs, '%d+') do
      if new then add(refs, 'i32', x, -1) end
      note_deletable(deletable, x)
    end
  end
end

local function version(s, attempt) return s .. '.' .. (string.gsub(attempt, ':R', '.')) end

-- Refuses an arrival, whose output is stored already: it is deleted, unless it is official, as that of an
-- arrival whose first reply was lost may be. The answer says which.
local function refuse(why)
  local d, mine = ARGV[4], version(ARGV[2], ARGV[3])
  if redis.call('HGET', ver, d) == mine then return {why, 1} end
  redis.call('UNLINK', data(d, mine))
  return {why, 0}
end

local operation = {}

-- begin s epoch token -> GO epoch {claim} ttl | STOP.  Stops duplicates while the lease of the first
-- one lasts, stale epochs, and runs that have ended. The same token gets GO again (lost reply).
function operation.begin()
  local s, epoch = lineage()
  local token = ARGV[4]
  local v = redis.call('HGET', ep, s)
  if not v or v == 'F' then return {'STOP'} end
  local at, state, owner = string.match(v, '^(%d+):(%a)(.*)$')
  at = tonumber(at)
  if tonumber(epoch) < at then return {'STOP'} end
  if state == 'R' and owner ~= token then
    if tonumber(redis.call('ZSCORE', lease, s) or 0) > now() then return {'STOP'} end
    at = at + 1
  end
  redis.call('HSET', ep, s, at .. ':R' .. token)
  redis.call('HINCRBY', cfg, 'begun', 1)
  extend(s)
  return {'GO', at, claimed({s})[1], config('ttl')}
end

-- Counts the arrival of d for n inputs, from ARGV[i] on, and for the children after them, and gives
-- {claim of a child to run here}... {child handed off}... {input, version deletable}...
local function counted(s, d, new, i, n, held)
  local deletable = {}
  settle(held, deletable)
  for k = i, i + n - 1 do
    if new then add(refs, 'i32', ARGV[k], -1) end
    note_deletable(deletable, ARGV[k])
  end
  local here, handed = {}, {}
  local most = config('live')
  local live = redis.call('ZCARD', lease) - 1
  local until_begun = tostring(now() + config('handoff'))
  for k = i + n, #ARGV, 2 do
    local c, need = tonumber(ARGV[k]), tonumber(ARGV[k + 1])
    local arrived = new and add(cnt, 'u32', c, 1) or get(cnt, 'u32', c)
    if redis.call('GETBIT', done, c) == 0 then
      local owner = get(claim, 'u32', c)
      if owner == s + 1 then
        here[#here + 1] = c
      elseif owner == 0 and arrived >= need then
        if ARGV[1] == 'arrive' and #here == 0 or (most > 0 and live >= most) then
          set(claim, 'u32', c, s + 1)
          here[#here + 1] = c
        else
          set(claim, 'u32', c, c + 1)
          redis.call('HSET', ep, c, '1:P' .. s)
          redis.call('ZADD', lease, until_begun, c)
          live = live + 1
          handed[#handed + 1] = c
        end
      elseif owner == c + 1 and string.sub(redis.call('HGET', ep, c), 1, 3) == '1:P' then
        handed[#handed + 1] = c
      end
    end
  end
  return {'OK', claimed(here, d), handed, deletable}
end

-- arrive s attempt d after root last rest held n-inputs input... (child n-inputs-of-child)...
--   -> as counted | FENCED or STOP, and 1 if the output is official all the same
-- The output of d is stored already. `last` says that s has nothing else to do: if it is given no
-- child either, its lease ends with this call. `rest` is what comes in more pages, if there are any;
-- `held`, what becomes official with it.
function operation.arrive()
  local s, attempt = lineage()
  local d, root, last, rest, n = ARGV[4], ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[10])
  if not current(s, attempt) or not is_known(ARGV[5]) then return refuse('FENCED') end
  if get(claim, 'u32', d) ~= s + 1 then return refuse('FENCED') end
  extend(s)
  local new = redis.call('SETBIT', done, d, 1) == 0
  if new then redis.call('HSET', ver, d, version(s, attempt)) end
  if new and rest ~= '' then redis.call('HSET', left, d, 1, d .. ':rest', rest) end
  local answer = counted(s, d, new, 11, n, ARGV[9])
  if root == '1' and new then redis.call('XADD', news, '*', 'root', d) end
  if last == '1' and #answer[2] == 0 then finish(s) end
  return answer
end

-- more s attempt d page pages n-inputs input... (child n-inputs-of-child)... -> as counted
-- A further page of an arrival, counted from 1; only the first page keeps a child here.
function operation.more()
  local s, attempt = lineage()
  local d, page, pages, n = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  if not current(s, attempt) then return {'FENCED'} end
  if get(claim, 'u32', d) ~= s + 1 then return {'FENCED'} end
  extend(s)
  local new = tonumber(redis.call('HGET', left, d) or -1) == page
  if new and page + 1 < pages then redis.call('HSET', left, d, page + 1) end
  if new and page + 1 == pages then redis.call('HDEL', left, d, d .. ':rest') end
  return counted(s, d, new, 8, n, '')
end

-- hold s attempt d after child n-inputs-of-child -> OK {claim}? | FENCED.  d has run, and is not stored
-- as long as its only child waits for it alone and so can run here.
function operation.hold()
  local s, attempt = lineage()
  local d, c, need = ARGV[4], ARGV[6], tonumber(ARGV[7])
  if not current(s, attempt) or not is_known(ARGV[5]) then return {'FENCED'} end
  extend(s)
  if get(claim, 'u32', d) ~= s + 1 then return {'FENCED'} end
  if redis.call('GETBIT', done, c) == 1 or redis.call('GETBIT', done, d) == 1 then return {'OK', {}} end
  local owner = get(claim, 'u32', c)
  if owner == 0 and get(cnt, 'u32', c) + 1 >= need then
    owner = s + 1
    set(claim, 'u32', c, owner)
  end
  if owner == s + 1 then return {'OK', claimed({tonumber(c)}, d)} end
  return {'OK', {}}
end

-- claims s attempt segment... -> OK {claim}...  For a re-driven lineage that looks at what it owns.
-- Whoever asks leaves out those of the claims with very many inputs of which one has no data.
function operation.claims()
  local s, attempt = lineage()
  if not current(s, attempt) then return {'FENCED'} end
  extend(s)
  local owners, dones, mine = {}, {}, {}
  for i = 4, #ARGV do
    for _, word in ipairs({'GET', 'u32', '#' .. ARGV[i]}) do owners[#owners + 1] = word end
    for _, word in ipairs({'GET', 'u1', '#' .. ARGV[i]}) do dones[#dones + 1] = word end
  end
  if #owners == 0 then return {'OK', {}} end
  owners = redis.call('BITFIELD', claim, unpack(owners))
  dones = redis.call('BITFIELD', done, unpack(dones))
  for i = 4, #ARGV do
    if owners[i - 3] == s + 1 and dones[i - 3] == 0 then mine[#mine + 1] = tonumber(ARGV[i]) end
  end
  return {'OK', claimed(mine, nil, true)}
end

-- beat (s attempt)... -> OK {s that were fenced}...
function operation.beat()
  local fenced = {}
  for i = 2, #ARGV, 2 do
    local s = tonumber(ARGV[i])
    if current(s, ARGV[i + 1]) then extend(s) else fenced[#fenced + 1] = s end
  end
  return {'OK', fenced}
end

-- finish s attempt after -> OK | FENCED
function operation.finish()
  local s, attempt = lineage()
  if not current(s, attempt) or not is_known(ARGV[4]) then return {'FENCED'} end
  finish(s)
  return {'OK'}
end

-- pass_on s attempt -> OK {next epoch} | FENCED.  An Executor whose time is up leaves its lineage, with
-- all that it owns, to one that is started for it.
function operation.pass_on()
  local s, attempt = lineage()
  if not current(s, attempt) then return {'FENCED'} end
  local at = tonumber(string.match(attempt, '^%d+')) + 1
  redis.call('HSET', ep, s, at .. ':P')
  redis.call('ZADD', lease, now() + config('handoff'), s)
  return {'OK', at}
end

-- reap most late -> OK {s, epoch}...  Leases that expired `late` ms ago, to be started again: one that
-- had begun in its next epoch; one that was handed off and has not begun (lost, or still waiting) in the same.
function operation.reap()
  local t = now()
  local found = {}
  local over = t - tonumber(ARGV[3])
  for _, s in ipairs(redis.call('ZRANGEBYSCORE', lease, '-inf', over, 'LIMIT', 0, ARGV[2])) do
    local at, state = string.match(redis.call('HGET', ep, s), '^(%d+):(%a)')
    at = tonumber(at)
    if state == 'R' then
      at = at + 1
      redis.call('HSET', ep, s, at .. ':P')
    end
    redis.call('ZADD', lease, t + config('handoff'), s)
    found[#found + 1] = tonumber(s)
    found[#found + 1] = at
  end
  return {'OK', found}
end

-- stop state failure -> OK.  Ends a running run; the first to end it wins.
function operation.stop()
  redis.call('SET', st, ARGV[2], 'KEEPTTL')
  if ARGV[3] ~= '' then redis.call('SET', err, ARGV[3], 'EX', config('keep')) end
  redis.call('XADD', news, '*', 'end', ARGV[2])
  return {'OK'}
end

-- free (d version)... -> OK {d}...  Deletes data that nobody reads any more. This is looked at again here:
-- since the caller was told, the store may have lost its last writes, and consumers run again.
function operation.free()
  local freed = {}
  for i = 2, #ARGV, 2 do
    if get(refs, 'i32', ARGV[i]) == 0 then
      redis.call('UNLINK', data(ARGV[i], ARGV[i + 1]))
      freed[#freed + 1] = tonumber(ARGV[i])
    end
  end
  return {'OK', freed}
end

local state = redis.call('GET', st)
if state ~= 'R' and not (state and ARGV[1] == 'free') then
  if ARGV[1] == 'arrive' then return refuse('STOP') end
  return {'STOP'}
end
return operation[ARGV[1]]()
