//! A small Lisp runs programs written in it: `interpreter ROUNDS`.
//! The reader makes boxes; the evaluator counts references to pairs, closures and environments.

use crate::rng::{mix, Map};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

const PROGRAM: &str = r"
(define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))))
(define range (lambda (a b) (if (< a b) (cons a (range (+ a 1) b)) nil)))
(define map (lambda (f l) (if (null l) nil (cons (f (car l)) (map f (cdr l))))))
(define filter (lambda (f l)
  (if (null l) nil
    (if (f (car l)) (cons (car l) (filter f (cdr l))) (filter f (cdr l))))))
(define fold (lambda (f s l) (if (null l) s (fold f (f s (car l)) (cdr l)))))
(define append (lambda (a b) (if (null a) b (cons (car a) (append (cdr a) b)))))
(define sort (lambda (l)
  (if (null l) nil
    (append (sort (filter (lambda (x) (< x (car l))) (cdr l)))
      (cons (car l) (sort (filter (lambda (x) (< (- (car l) 1) x)) (cdr l))))))))
(define adder (lambda (n) (lambda (x) (+ x n))))
(define shuffle (lambda (l) (map (lambda (x) (mod (* x 7919) 503)) l)))
(define table (map (lambda (x) (cons x (map (adder x) (range 0 40)))) (range 0 150)))
(+ (fib 15)
  (+ (fold (lambda (s x) (mod (+ (* s 3) x) 1000003)) 1 (sort (shuffle (range 1 120))))
     (fold + 0 (map (adder 5) (range 0 150)))))
";

enum Syntax {
    Number(i64),
    Name(String),
    List(Vec<Syntax>),
}

type Builtin = fn(i64, i64) -> i64;

#[derive(Clone)]
enum Value {
    Nil,
    Number(i64),
    Pair(Rc<(Value, Value)>),
    Closure(Rc<Closure>),
    Builtin(Builtin),
}

struct Closure {
    names: Vec<String>,
    body: Rc<Syntax>,
    scope: Rc<Scope>,
}

struct Scope {
    values: RefCell<Map<String, Value>>,
    outer: Option<Rc<Scope>>,
}

impl Scope {
    fn get(&self, name: &str) -> Value {
        match (self.values.borrow().get(name), &self.outer) {
            (Some(value), _) => value.clone(),
            (None, Some(outer)) => outer.get(name),
            (None, None) => Value::Nil,
        }
    }
}

fn read(words: &mut std::vec::IntoIter<String>) -> Option<Syntax> {
    let word = words.next()?;
    Some(match word.as_str() {
        "(" => {
            let mut list = Vec::new();
            while let Some(item) = read(words) {
                list.push(item);
            }
            Syntax::List(list)
        }
        ")" => return None,
        _ => match word.parse() {
            Ok(number) => Syntax::Number(number),
            Err(_) => Syntax::Name(word),
        },
    })
}

fn parsed(text: &str) -> Vec<Syntax> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut words = words.into_iter();
    let mut all = Vec::new();
    while let Some(item) = read(&mut words) {
        all.push(item);
    }
    all
}

fn copied(syntax: &Syntax) -> Syntax {
    match syntax {
        Syntax::Number(number) => Syntax::Number(*number),
        Syntax::Name(name) => Syntax::Name(name.clone()),
        Syntax::List(list) => Syntax::List(list.iter().map(copied).collect()),
    }
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Number(number) => *number,
        _ => 0,
    }
}

fn list(items: &[Syntax], scope: &Rc<Scope>) -> Value {
    let head = match &items[0] {
        Syntax::Name(name) => name.as_str(),
        _ => "",
    };
    match (head, items) {
        ("define", [_, Syntax::Name(name), what]) => {
            let value = eval(what, scope);
            scope.values.borrow_mut().insert(name.clone(), value);
            Value::Nil
        }
        ("if", [_, test, yes, no]) => match eval(test, scope) {
            Value::Nil | Value::Number(0) => eval(no, scope),
            _ => eval(yes, scope),
        },
        ("lambda", [_, Syntax::List(names), body]) => {
            let names = names.iter().filter_map(|name| match name {
                Syntax::Name(name) => Some(name.clone()),
                _ => None,
            });
            let body = Rc::new(copied(body));
            let scope = Rc::clone(scope);
            Value::Closure(Rc::new(Closure { names: names.collect(), body, scope }))
        }
        ("cons", [_, first, rest]) => Value::Pair(Rc::new((eval(first, scope), eval(rest, scope)))),
        ("car" | "cdr" | "null", [_, what]) => match (eval(what, scope), head) {
            (Value::Pair(pair), "car") => pair.0.clone(),
            (Value::Pair(pair), "cdr") => pair.1.clone(),
            (Value::Nil, "null") => Value::Number(1),
            _ => Value::Nil,
        },
        _ => {
            let values: Vec<Value> = items.iter().map(|item| eval(item, scope)).collect();
            apply(&values[0], &values[1..])
        }
    }
}

fn apply(function: &Value, values: &[Value]) -> Value {
    match (function, values) {
        (Value::Builtin(builtin), [a, b]) => Value::Number(builtin(number(a), number(b))),
        (Value::Closure(closure), _) => {
            let named = closure.names.iter().cloned().zip(values.iter().cloned());
            let inner = Rc::new(Scope {
                values: RefCell::new(named.collect()),
                outer: Some(Rc::clone(&closure.scope)),
            });
            eval(&closure.body, &inner)
        }
        _ => Value::Nil,
    }
}

fn eval(syntax: &Syntax, scope: &Rc<Scope>) -> Value {
    match syntax {
        Syntax::Number(number) => Value::Number(*number),
        Syntax::Name(name) => scope.get(name),
        Syntax::List(items) if items.is_empty() => Value::Nil,
        Syntax::List(items) => list(items, scope),
    }
}

fn global() -> Rc<Scope> {
    let builtins: [(&str, Builtin); 5] = [
        ("+", |a, b| a.wrapping_add(b)),
        ("-", |a, b| a.wrapping_sub(b)),
        ("*", |a, b| a.wrapping_mul(b)),
        ("mod", |a, b| a % b.max(1)),
        ("<", |a, b| i64::from(a < b)),
    ];
    let values = builtins.iter().map(|(name, f)| ((*name).to_owned(), Value::Builtin(*f)));
    Rc::new(Scope { values: RefCell::new(values.collect()), outer: None })
}

/// The closures and the scope that holds them know each other.
fn unload(scope: Rc<Scope>) {
    scope.values.borrow_mut().clear();
}

/// How many programs stay.
const LOADED: usize = 24;

pub fn run(args: &[usize]) -> u64 {
    let mut sum = 0;
    let mut loaded = VecDeque::new();
    for round in 0..args[0] {
        let scope = global();
        let mut last = Value::Nil;
        for item in parsed(PROGRAM) {
            last = eval(&item, &scope);
        }
        sum = mix(mix(sum, round as u64), number(&last) as u64);
        // As modules that are loaded: what they made stays for a while.
        loaded.push_back(scope);
        if loaded.len() > LOADED {
            loaded.pop_front().into_iter().for_each(unload);
        }
    }
    loaded.into_iter().for_each(unload);
    sum
}
