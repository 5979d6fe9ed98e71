-- Everything in memory: rows, an index, a join, groups, strings.
create table item (id integer primary key, name text, price integer, shop integer);
create table shop (id integer primary key, name text);
insert into shop
  with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
  select i, 'shop ' || i from n;
insert into item
  with recursive n(i) as (select 1 union all select i + 1 from n where i < 120000)
  select i, 'item ' || (i * 7919 % 120011), i * 104729 % 10007, i * 31 % 500 + 1 from n;
create index item_name on item(name);
create index item_shop on item(shop, price);
select shop.name, count(*), sum(price) from item join shop on shop.id = item.shop
  group by shop.name order by 3 desc limit 5;
select count(distinct substr(name, 1, 8)), max(name), min(name) from item;
select length(group_concat(upper(name))) from item;
update item set name = name || '!' where id % 3 = 0;
delete from item where id % 5 = 0;
select count(*), sum(length(name)), sum(price) from item;
