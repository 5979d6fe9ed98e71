-- Tables, strings and closures: a word count, a queue, a small object system. Argument: rounds.

local state = 1
local function below(limit)
  state = (state * 1103515245 + 12345) & 0x7fffffff
  return (state >> 8) % limit
end

local Account = {}
Account.__index = Account

local function account(name)
  local history = {}
  local self = setmetatable({name = name, balance = 0}, Account)
  self.log = function(amount) history[#history + 1] = {amount = amount, at = #history} end
  self.size = function() return #history end
  return self
end

function Account:deposit(amount)
  self.balance = self.balance + amount
  self.log(amount)
end

local function text(words)
  local out = {}
  for i = 1, words do
    out[i] = "w" .. below(4000) .. string.char(97 + below(26))
  end
  return table.concat(out, " ")
end

local function tree(depth)
  if depth == 0 then return {value = below(100)} end
  return {left = tree(depth - 1), right = tree(depth - 1)}
end

local function total(node)
  if node.value then return node.value end
  return total(node.left) + total(node.right)
end

local sum = 0
for round = 1, tonumber(arg[1]) do
  local counts, accounts = {}, {}
  for word in text(40000):gmatch("%S+") do
    counts[word] = (counts[word] or 0) + 1
  end
  local words = {}
  for word in pairs(counts) do words[#words + 1] = word end
  table.sort(words)
  for i = 1, #words do
    local name = words[i]:sub(1, 3)
    accounts[name] = accounts[name] or account(name)
    accounts[name]:deposit(counts[words[i]])
  end
  for _, one in pairs(accounts) do sum = sum + one.balance + one.size() end
  sum = sum + total(tree(14)) + #table.concat(words, ","):gsub("%d+", "#"):upper()
end
print("lua seed=1 checksum=" .. sum)
